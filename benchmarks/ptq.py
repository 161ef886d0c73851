"""INT8 of this project against the vendors' defaults: same model, same calibration images, same test images, one run.

    python -m benchmarks.ptq RUN --data DATA

Latencies are medians at batch 1 on one thread, measured alternately. Core ML does not run here: its packages are
evaluated, which says nothing about their latency. The last column compares a runtime with PyTorch, which runs the same
int8 program as integer kernels compute it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arbex.checkpoint import load_run, open_run
from arbex.data.loading import read_pixels
from arbex.errors import BackendError
from arbex.progress import SILENT
from arbex.reference import answer
from arbex.spec import INPUT_NAME, size_of_tree
from calibration.samples import CalibrationSet, load_samples
from export.channel_equalization import equalize_channels
from export.gate import answers_of
from export.int8_calibration import CalibrationRequest, calibrate_run
from export.pipeline import export
from export.plan import ExportRequest
from export.trace import TracedModel, trace
from quantize.kernel_emulation import as_kernels_compute
from quantize.program import quantize
from quantize.recipe import ACCELERATOR, CPU
from runtimes.base import Prediction, Runtime
from runtimes.comparison import compare
from runtimes.coreml_runtime import CoreMlEvaluator
from runtimes.litert_runtime import LiteRt
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.vendor_output import hidden_output

SAMPLES = 64
RUNS = 20


@dataclass(frozen=True)
class Row:
    """A file with its runtime, and the answers of its program."""

    name: str
    path: Path
    runtime: type[Runtime]
    program: Prediction | None = None


def quantize_with_onnx_runtime(full: Path, out: Path, images: CalibrationSet) -> Path:
    """Quantizes with the defaults of ``quantize_static``, after the preparation that it asks for."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds one image at a time."""

        def __init__(self) -> None:
            self.rest: Iterator[NDArray[np.uint8]] = images.batches(1)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.rest, None)
            return None if batch is None else {INPUT_NAME: batch}

    prepared = out.with_name("prepared.onnx")
    quant_pre_process(str(full), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(out), Reader())
    return out


def quantize_with_ai_edge(full: Path, out: Path, images: CalibrationSet, *, convolutions_only: bool = False) -> Path:
    """Quantizes with AI Edge Quantizer's recipe ``static_wi8_ai8``, optionally on convolutions only."""
    from ai_edge_quantizer import quantizer, recipe

    (rule,) = recipe.static_wi8_ai8()
    convolutions = [{**rule, "operation": name} for name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    work = quantizer.Quantizer(str(full), convolutions if convolutions_only else [rule])
    found = work.calibrate({"serving_default": [{INPUT_NAME: batch} for batch in images.batches(1)]})
    out.write_bytes(bytes(work.quantize(found).quantized_model))
    return out


def quantize_with_coremltools(full: Path, out: Path) -> Path:
    """Quantizes weights only, with ``linear_quantize_weights`` and its defaults."""
    import coremltools
    from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights

    model = coremltools.models.MLModel(str(full), skip_model_load=True)
    linear_quantize_weights(model, OptimizationConfig(global_config=OpLinearQuantizerConfig())).save(str(out))
    return out


def start(rows: list[Row], side: int) -> dict[str, Runtime]:
    """Returns the runtimes of the rows; prints which files their own vendor's runtime cannot load."""
    running = {}
    for row in rows:
        try:
            running[row.name] = row.runtime(row.path, side, threads=1)
        except BackendError as error:
            print(f"{row.name}: {str(error)[:300]}")
    return running


def latencies(running: dict[str, Runtime], side: int) -> dict[str, float]:
    """Returns the median latency of each runtime in milliseconds, measured alternately."""
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    times: dict[str, list[float]] = {name: [] for name in running}
    timed = {name: runtime for name, runtime in running.items() if not isinstance(runtime, CoreMlEvaluator)}
    for _ in range(RUNS + 3):
        for name, runtime in timed.items():
            started = time.perf_counter()
            runtime.run(image)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[3:]) * 1e3 for name, values in times.items() if values}


def make_rows(run: Path, data: str, traced: TracedModel, folder: Path, pixels: NDArray[np.uint8]) -> list[Row]:
    """Exports, quantizes with every vendor's tools, and returns a row per file."""
    calibration = load_samples(data, traced.labels, traced.side, count=SAMPLES)
    table, _ = calibrate_run(open_run(run), traced, CalibrationRequest(source=data, samples=SAMPLES), SILENT)
    table.save(folder / "table.json")
    targets = ("cpu", "android", "iphone")
    wanted = ExportRequest(
        run=run,
        targets=targets,
        out=folder / "ours",
        precisions=("fp32", "int8"),
        calibration=str(folder / "table.json"),
        allow_untrained=True,
    )
    with hidden_output():
        export(wanted)
    ours = {name: folder / "ours" / name / "artifacts" for name in targets}
    full = {"onnx": ours["cpu"] / "model.fp32.onnx", "tflite": ours["android"] / "model.fp32.tflite"}
    package = ours["iphone"] / "model.fp32.mlpackage"
    with hidden_output():
        ort = quantize_with_onnx_runtime(full["onnx"], folder / "ort.onnx", calibration)
        edge = quantize_with_ai_edge(full["tflite"], folder / "edge.tflite", calibration)
        some = quantize_with_ai_edge(full["tflite"], folder / "some.tflite", calibration, convolutions_only=True)
        apple = quantize_with_coremltools(package, folder / "weights.mlpackage")
    program = answers_of(as_kernels_compute(quantize(traced.program, table.ranges, CPU)), traced, pixels)
    both = answers_of(quantize(traced.program, table.ranges, ACCELERATOR), traced, pixels, half=True)
    return [
        Row("ONNX Runtime, fp32", full["onnx"], OnnxRuntime),
        Row("ONNX Runtime, arbex", ours["cpu"] / "model.int8.onnx", OnnxRuntime, program=program),
        Row("ONNX Runtime, quantize_static", ort, OnnxRuntime),
        Row("LiteRT, fp32", full["tflite"], LiteRt),
        Row("LiteRT, arbex", ours["android"] / "model.int8.tflite", LiteRt, program=program),
        Row("LiteRT, static_wi8_ai8", edge, LiteRt),
        Row("LiteRT, static_wi8_ai8 on convolutions", some, LiteRt),
        Row("Core ML, fp32", package, CoreMlEvaluator),
        Row("Core ML, arbex", ours["iphone"] / "model.int8.mlpackage", CoreMlEvaluator, program=both),
        Row("Core ML, weights only", apple, CoreMlEvaluator),
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=2000, help="largest number of test images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_run(arguments.run)
    traced = equalize_channels(trace(model))
    images, labels = read_pixels(arguments.data, "test", traced.labels, traced.side, limit=arguments.images)
    pixels = images[:]
    reference = Prediction(*answer(model, pixels))
    with tempfile.TemporaryDirectory() as name:
        rows = make_rows(arguments.run, arguments.data, traced, Path(name), pixels)
        running = start(rows, traced.side)
        medians = latencies(running, traced.side)
        print(f"\n{len(pixels)} test images, {SAMPLES} calibration images\n")
        print("| | p50 ms | MB | mean KL | agreement | ECE change | KL to its program |")
        print("|---|---|---|---|---|---|---|")
        for row in rows:
            answers = running[row.name].run_all(pixels) if row.name in running else None
            figures = "| | | "
            if answers:
                parity = compare(reference, answers, labels)
                figures = f"| {parity.mean_kl:.1e} | {parity.top1_agreement:.2%} | {parity.ece_delta:+.4f} "
            apart = f"{compare(row.program, answers).mean_kl:.1e}" if row.program and answers else ""
            duration = f"{medians[row.name]:.2f}" if row.name in medians else "-"
            print(f"| {row.name} | {duration} | {size_of_tree(row.path) / 1e6:.2f} {figures}| {apart} |", flush=True)


if __name__ == "__main__":
    main()
