"""Latency and size of what runs here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.bundle import Bundle, open_bundle

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


def measure(bundle: Bundle, name: str, threads: int) -> dict[str, Any]:
    """Times one artifact at batch 1, in this process.

    Returns:
        ``runtime, p50_ms, p95_ms, images_per_s, peak_rss_bytes``; throughput is at batch 1 as well.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, bundle.side, bundle.side, 3), dtype=np.uint8)
    times: list[float] = []
    with bundle.open(name, threads=threads) as runtime:
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


def measure_apart(bundle: Bundle, name: str, threads: int) -> dict[str, Any]:
    """Times one artifact in a process of its own, so that memory and thread pools are its own."""
    command = [sys.executable, "-m", "runtimes.benchmark", str(bundle.path.resolve()), name, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        figures = dict.fromkeys(("p50_ms", "p95_ms", "images_per_s", "peak_rss_bytes"))
        return {"runtime": "none", **figures, "why": reason[0]}
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def benchmark(bundle: Bundle, *, threads: int = 1) -> list[dict[str, Any]]:
    """Times every artifact of a bundle that runs here, one after the other, at batch 1.

    Returns:
        A row an artifact: ``bundle, artifact, runtime, precision, threads, p50_ms, p95_ms, images_per_s,
        size_bytes, peak_rss_bytes``; figures are nothing, and ``why`` tells, where it failed.
    """
    rows = []
    for artifact in bundle.manifest.artifacts:
        if bundle.format(artifact).runtime is None:
            continue
        figures = measure_apart(bundle, artifact.name, threads)
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


if __name__ == "__main__":
    print(json.dumps(measure(open_bundle(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
