"""``make bench``: speed of drawing, and latency of each format relative to PyTorch in the same run.

The weights are untrained, since latency does not depend on them. Figures are medians; every ratio is within one run.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from arbex.checkpoint import load_run
from arbex.settings import PRESET_SETTINGS, override
from arbex.synth import SynthConfig, write_dataset
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from export.pipeline import export
from export.plan import ExportRequest
from runtimes.benchmark import benchmark
from runtimes.bundle import open_bundle


def median_ms(work: Callable[[], object], runs: int = 20, warm_up: int = 3) -> float:
    """Returns the median time of a call in milliseconds."""
    times = []
    for i in range(warm_up + runs):
        started = time.perf_counter()
        work()
        if i >= warm_up:
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def drawing(images: int = 350, runs: int = 3) -> float:
    """Prints and returns how many faces of 128 px one core draws and writes per second."""
    config = SynthConfig(images=images, subjects=10)
    with tempfile.TemporaryDirectory() as folder:
        names = (Path(folder) / str(i) for i in itertools.count())
        duration = median_ms(lambda: write_dataset(config, next(names), workers=1), runs=runs, warm_up=1)
    speed = 1e3 * images / duration
    print(f"drawing: {speed:.0f} images/s on one core, PNG files included")
    return speed


def write_untrained(preset: str, root: Path) -> Path:
    """Writes small faces and an untrained run of a preset, ``root/faces`` and ``root/run``, and returns the run."""
    write_dataset(SynthConfig(images=210, subjects=10, image_size=64), root / "faces")
    settings = override(PRESET_SETTINGS[preset], ["epochs=0"])
    train(TrainRequest(data=str(root / "faces"), out=root / "run", preset=preset, method="arbex", settings=settings))
    return root / "run"


def latency(preset: str, threads: int) -> None:
    """Prints the latency at batch 1 of PyTorch and of every artifact that runs here."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_untrained(preset, root)
        # Answers of random weights are ties that any rounding decides; they do not matter here.
        targets, precisions = ("cpu", "android", "executorch"), ("fp32", "int8")
        export(
            ExportRequest(
                run=root / "run",
                targets=targets,
                out=root,
                precisions=precisions,
                samples=32,
                min_agreement=0.0,
                allow_untrained=True,
            )
        )
        model = load_run(root / "run")
        images = torch.zeros(1, 3, model.preprocessing.image_size, model.preprocessing.image_size)
        with torch.inference_mode():
            reference = median_ms(lambda: model(images))
        parameters = sum(p.numel() for p in model.parameters()) / 1e6
        print(f"\n{preset}: {parameters:.2f} M parameters, {threads} thread(s)\n")
        print("| runtime | precision | p50 ms | of PyTorch | of its fp32 | MB | of its fp32 |")
        print(f"|---|---|---|---|---|---|---|\n| PyTorch | fp32 | {reference:.2f} | 1.00 | | | |")
        for name in targets:
            rows = benchmark(open_bundle(root / name), threads=threads)
            full = next(row for row in rows if row.precision == "fp32")
            for row in rows:
                if row.figures is None or full.figures is None:
                    print(f"| {row.artifact} | {row.precision} | {row.why} |")
                    continue
                ms, size = row.figures.p50_ms, row.size_bytes
                print(
                    f"| {row.figures.runtime} | {row.precision} | {ms:.2f} | {ms / reference:.2f} "
                    f"| {ms / full.figures.p50_ms:.2f} | {size / 1e6:.2f} | {size / full.size_bytes:.2f} |"
                )


def main() -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", action="append", choices=sorted(PRESET_SETTINGS))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    drawing()
    for preset in arguments.preset or ["tiny", "mobile"]:
        latency(preset, arguments.threads)


if __name__ == "__main__":
    main()
