"""Speed of the evaluator of Core ML packages relative to PyTorch, image by image in the same run.

The weights are untrained, since speed does not depend on them. Figures are medians of calls that take turns::

    python -m benchmarks.evaluator --preset base
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from arbex.checkpoint import load_run
from arbex.settings import PRESET_SETTINGS
from arbex.spec import INPUT_NAME
from benchmarks.edge import write_untrained
from export.pipeline import export
from export.plan import ExportRequest
from runtimes.bundle import open_bundle
from runtimes.coreml_evaluator.program import Program

CALLS = 20


def seconds(work: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(preset: str) -> None:
    """Prints the times of PyTorch and of the evaluator for the fp32 package of a preset."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = write_untrained(preset, root)
        export(ExportRequest(run=run, targets=("iphone",), out=root, precisions=("fp32",), allow_untrained=True))
        bundle = open_bundle(root / "iphone")
        program = Program.load(bundle.file(bundle.find("fp32")))
        model = load_run(run)
        image = np.zeros((1, bundle.side, bundle.side, 3), np.uint8)
        pixels = torch.zeros(1, 3, bundle.side, bundle.side)
        with torch.inference_mode():
            calls = (lambda: model(pixels), lambda: program.run({INPUT_NAME: image}))
            for call in calls:
                call()
            pairs = [[1e3 * seconds(call) for call in calls] for _ in range(CALLS)]
    eager, evaluated = (statistics.median(times) for times in zip(*pairs, strict=True))
    print("| preset | PyTorch, ms | evaluator, ms | ratio |\n|---|---|---|---|")
    print(f"| `{preset}` | {eager:.1f} | {evaluated:.1f} | {evaluated / eager:.2f} |")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", action="append", choices=sorted(PRESET_SETTINGS))
    for preset in parser.parse_args().preset or ["base"]:
        compare(preset)


if __name__ == "__main__":
    main()
