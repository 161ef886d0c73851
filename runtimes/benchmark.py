"""Latency and size of what runs here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtimes import isolated
from runtimes.base import Runtime
from runtimes.bundle import RUNTIMES, Bundle

WARM_UP, RUNS, SECONDS = 5, 50, 5.0
"""Runs before the clock starts, runs that count, and after how long to stop earlier."""


def peak_memory() -> int:
    """Returns this process's peak resident memory in bytes.

    Linux tells by ``/proc`` since the program started; ``getrusage`` would carry over the parent's peak.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(runtime_class: type[Runtime], path: Path, side: int, threads: int) -> dict[str, Any]:
    """Times one artifact at batch 1, in this process.

    Args:
        runtime_class: What runs it.
        path: The artifact.
        side: Side of its input in pixels.
        threads: How many the runtime uses.

    Returns:
        ``runtime, p50_ms, p95_ms, images_per_s, peak_rss_bytes``; throughput is at batch 1 as well.

    Raises:
        BackendError: If the runtime is missing, or refuses the artifact.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    times: list[float] = []
    with runtime_class(path, side, threads=threads) as runtime:
        for _ in range(WARM_UP):
            runtime.run(image)
        started = time.perf_counter()
        while len(times) < RUNS and (len(times) < 5 or time.perf_counter() - started < SECONDS):
            before = time.perf_counter()
            runtime.run(image)
            times.append(time.perf_counter() - before)
        runtime_name = runtime.name
    median, slow = np.percentile(times, [50, 95])
    return {
        "runtime": runtime_name,
        "p50_ms": float(median * 1e3),
        "p95_ms": float(slow * 1e3),
        "images_per_s": float(1 / median),
        "peak_rss_bytes": peak_memory(),
    }


CHILD = "from runtimes.benchmark import answer_parent; answer_parent()"


def measure_apart(runtime_name: str, path: Path, side: int, threads: int) -> dict[str, Any]:
    """Times one artifact in a process of its own, so that memory and thread pools are its own.

    Args:
        runtime_name: What runs it, as ``module:class``.
        path: The artifact, which was checked already.
        side: Side of its input in pixels.
        threads: How many the runtime uses.

    Returns:
        What ``measure`` does; figures are None, and ``why`` tells, where it failed.
    """
    command = isolated.python(CHILD, runtime_name, str(path.resolve()), str(side), str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        figures = dict.fromkeys(("p50_ms", "p95_ms", "images_per_s", "peak_rss_bytes"))
        return {"runtime": "none", **figures, "why": reason[0]}
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def answer_parent() -> None:
    """Measures what the command line of this child names, and prints it as JSON: the last line of stdout."""
    name, path, side, threads = sys.argv[1:]
    module, _, attribute = name.partition(":")
    runtime_class: type[Runtime] = getattr(import_module(module), attribute)
    print(json.dumps(measure(runtime_class, Path(path), int(side), int(threads))))


def benchmark(bundle: Bundle, *, threads: int = 1) -> list[dict[str, Any]]:
    """Times every artifact of a bundle that runs here, one after the other, at batch 1.

    Returns:
        A row per artifact: ``bundle, artifact, runtime, precision, threads, p50_ms, p95_ms, images_per_s,
        size_bytes, peak_rss_bytes``; figures are None, and ``why`` tells, where it failed.
    """
    rows = []
    for artifact in bundle.manifest.artifacts:
        if artifact.format not in RUNTIMES:
            continue
        figures = measure_apart(RUNTIMES[artifact.format], bundle.file(artifact), bundle.side, threads)
        rows.append(
            {
                "bundle": str(bundle.path),
                "artifact": artifact.name,
                "precision": artifact.precision,
                "threads": threads,
                "size_bytes": bundle.size(artifact),
                **figures,
            }
        )
    return rows
