"""The cost of calibration, and the accuracy of INT8 by observer: plain, with equalized channels, and corrected biases.

    python -m benchmarks.calibration RUN --data DATA

Throughput is compared with that of plain inference in the same run, both on prepared batches. Peak memory is that of a
process that only calibrates, for few images and for many. Answers are those of the int8 program in PyTorch.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from arbex.checkpoint import load_run, open_run
from arbex.data.loading import read_pixels
from arbex.progress import SILENT
from arbex.reference import answer
from calibration import CalibrationTable, TensorRange
from calibration.observers import CALIBRATORS
from export.channel_equalization import equalize_channels
from export.gate import answers_of
from export.int8_calibration import CalibrationRequest, calibrate_run
from export.trace import TracedModel, trace
from quantize.program import Calibrator, prepare, quantize
from quantize.recipe import ACCELERATOR, CPU, WIDEST
from runtimes.base import BATCH, Prediction
from runtimes.benchmark import peak_memory
from runtimes.comparison import compare

RUNS = 20
FEW, MANY = 64, 1024
SAMPLES = 256


def make_table(run: Path, data: str, samples: int, *, equal: bool = True) -> tuple[TracedModel, CalibrationTable]:
    """Calibrates a run, with its channels equalized or as they are."""
    traced = trace(load_run(run))
    traced = equalize_channels(traced) if equal else traced
    request = CalibrationRequest(source=data, samples=samples)
    return traced, calibrate_run(open_run(run), traced, request, SILENT)[0]


def peak_in_own_process(run: Path, data: str, samples: int) -> int:
    """Returns the peak resident memory in bytes of a process that calibrates on a number of images."""
    command = [sys.executable, "-m", "benchmarks.calibration", str(run), "--data", data, "--peak", str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def throughput(traced: TracedModel) -> None:
    """Prints the images per second of calibration and of plain inference."""
    images = torch.randn(BATCH, 3, traced.side, traced.side)
    calibrator = Calibrator(prepare(traced.program, WIDEST))
    times: dict[str, list[float]] = {"inference": [], "calibration": []}
    with torch.no_grad():
        for _ in range(RUNS + 2):
            for name, work in (("inference", traced.program), ("calibration", calibrator.add)):
                started = time.perf_counter()
                work(images)
                times[name].append(time.perf_counter() - started)
    plain, watched = (BATCH / statistics.median(values[2:]) for values in times.values())
    print(f"batch {BATCH}: inference {plain:.1f} images/s, calibration {watched:.1f} ({watched / plain:.2f} of it)")


def uncorrected(ranges: Mapping[str, TensorRange]) -> dict[str, TensorRange]:
    """Returns ranges without the means that correct biases."""
    return {name: replace(found, means=()) for name, found in ranges.items()}


def observers(run: Path, data: str, limit: int) -> None:
    """Prints how close the int8 program is to PyTorch with each observer, equalization and corrected biases."""
    plain, equal = (make_table(run, data, SAMPLES, equal=equal) for equal in (False, True))
    traced = plain[0]
    images, labels = read_pixels(data, "test", traced.labels, traced.side, limit=limit)
    pixels = images[:]
    reference = Prediction(*answer(load_run(run), pixels))
    print(f"\n{len(pixels)} test images, {SAMPLES} calibration images\n")
    columns = ("mean KL, plain", "equalized", "and corrected", "agreement, plain", "equalized", "and corrected")
    print(f"| observer | recipe | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for name in CALIBRATORS:
        for recipe in (CPU, ACCELERATOR):
            parities = []
            for (traced, table), corrected in ((plain, False), (equal, False), (equal, True)):
                ranges = table.with_calibrator(name).ranges
                program = quantize(traced.program, ranges if corrected else uncorrected(ranges), recipe)
                parities.append(compare(reference, answers_of(program, traced, pixels, half=recipe.half), labels))
            kl = " | ".join(f"{parity.mean_kl:.1e}" for parity in parities)
            agreement = " | ".join(f"{parity.top1_agreement:.2%}" for parity in parities)
            print(f"| `{name}` | {recipe.name} | {kl} | {agreement} |", flush=True)


def main() -> None:
    """Runs all parts; with ``--peak``, only calibrates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument(
        "--images", type=int, default=2000, help="largest number of test images; 0 leaves the observers out"
    )
    parser.add_argument(
        "--peak", type=int, help="only calibrate on this many images, and print the peak memory in bytes"
    )
    arguments = parser.parse_args()
    if arguments.peak:
        make_table(arguments.run, arguments.data, arguments.peak)
        print(peak_memory())
        return
    few, many = (peak_in_own_process(arguments.run, arguments.data, n) for n in (FEW, MANY))
    print(f"peak memory: {few / 1e6:.0f} MB with {FEW} images, {many / 1e6:.0f} MB with {MANY} ({many / few - 1:+.1%})")
    throughput(trace(load_run(arguments.run)))
    if arguments.images:
        observers(arguments.run, arguments.data, arguments.images)


if __name__ == "__main__":
    main()
