"""Where ONNX Runtime spends the time of an artifact, by operator.

    python -m benchmarks.operators bundles/cpu

One thread, batch 1, means of 50 runs. Profiling itself takes a little time, so that the sum is above the latency.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime

from arbex.spec import INPUT_NAME
from runtimes import open_bundle
from runtimes.onnx_runtime import session_options

RUNS, WARM_UP = 50, 5


def profile(path: Path, side: int) -> dict[str, float]:
    """Returns milliseconds per run by operator."""
    options = session_options(threads=1)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
        for _ in range(WARM_UP + RUNS):
            session.run(None, {INPUT_NAME: image})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]].append(event["dur"])
    warm = (WARM_UP + RUNS) / RUNS
    return {
        name: sum(times[round(len(times) * (1 - 1 / warm)) :]) / RUNS / 1e3 for name, times in sorted(spent.items())
    }


def main() -> None:
    """Prints a table per artifact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    bundle = open_bundle(parser.parse_args().bundle)
    for artifact in bundle.manifest.artifacts:
        if artifact.format != "onnx":
            continue
        found = profile(bundle.file(artifact), bundle.side)
        total = sum(found.values())
        print(f"\n{artifact.name}: {total:.2f} ms\n\n| operator | ms | share |\n|---|---|---|")
        for name, ms in sorted(found.items(), key=lambda item: -item[1]):
            if ms >= 0.01 * total:
                print(f"| {name} | {ms:.3f} | {ms / total:.0%} |")


if __name__ == "__main__":
    main()
