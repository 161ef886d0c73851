"""Latency, memory and size of the artifacts that run on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtimes import isolated
from runtimes.apart import leave
from runtimes.base import Runtime
from runtimes.bundle import Bundle
from runtimes.manifest import Artifact

WARM_UP, RUNS, SECONDS = 5, 50, 5.0
"""Runs before the clock starts, timed runs, and seconds after which timing stops early."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Measurements of an artifact at batch 1.

    Attributes:
        runtime: Name of the runtime.
        p50_ms: Median latency in milliseconds.
        p95_ms: 95th percentile of the latency, in milliseconds.
        images_per_s: Images per second at the median latency.
        peak_rss_bytes: Peak resident memory in bytes of a process that ran only this artifact.
    """

    runtime: str
    p50_ms: float
    p95_ms: float
    images_per_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Benchmark of one artifact.

    Attributes:
        bundle: Folder of its bundle.
        artifact: Its file name.
        precision: Its precision.
        threads: Number of threads of the runtime.
        size_bytes: Size of the artifact in bytes.
        figures: The measurements; None if the artifact did not run.
        why: Why it did not run; empty if it did.
    """

    bundle: str
    artifact: str
    precision: str
    threads: int
    size_bytes: int
    figures: Figures | None
    why: str

    def to_json(self) -> dict[str, Any]:
        """Returns the row as the command prints it; without figures, they are null and ``why`` is added."""
        row = asdict(self)
        figures, why = row.pop("figures"), row.pop("why")
        if figures is None:
            return {**row, **dict.fromkeys(Figures.__dataclass_fields__), "runtime": "none", "why": why}
        return {**row, **figures}


def peak_memory() -> int:
    """Returns this process's peak resident memory in bytes.

    On Linux, ``/proc`` counts from the start of the program, while ``getrusage`` includes the parent's peak.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(runtime_class: type[Runtime], path: Path, side: int, threads: int) -> Figures:
    """Times one artifact at batch 1, in this process.

    Args:
        runtime_class: Its runtime.
        path: The artifact.
        side: Side of its input in pixels.
        threads: Number of threads of the runtime.

    Raises:
        BackendError: If the runtime is missing, or cannot load or run the artifact.
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
    return Figures(
        runtime=runtime_name,
        p50_ms=float(median * 1e3),
        p95_ms=float(slow * 1e3),
        images_per_s=float(1 / median),
        peak_rss_bytes=peak_memory(),
    )


CHILD = "from runtimes.benchmark import answer_parent; answer_parent()"


def measure_apart(bundle: Bundle, artifact: Artifact, runtime_class: type[Runtime], threads: int) -> Timing:
    """Times one artifact in a process of its own, so that it shares neither memory nor thread pools.

    Args:
        bundle: An opened bundle, whose files were checked.
        artifact: One of its artifacts.
        runtime_class: Its runtime, which the child imports by name.
        threads: Number of threads of the runtime.
    """
    alone, path = runtime_class.alone(), bundle.file(artifact).resolve()
    name = f"{alone.__module__}:{alone.__qualname__}"
    command = isolated.python(CHILD, name, str(path), str(bundle.side), str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures, why = None, ""
    if done.returncode == 0:
        figures = Figures(**json.loads(done.stdout.strip().splitlines()[-1]))
    else:
        why = (done.stderr.strip().splitlines() or [f"its process ended with exit code {done.returncode}"])[-1]
    return Timing(
        bundle=str(bundle.path),
        artifact=artifact.name,
        precision=artifact.precision,
        threads=threads,
        size_bytes=bundle.size(artifact),
        figures=figures,
        why=why,
    )


def answer_parent() -> None:
    """Measures the artifact on the command line of this child, and prints the figures as JSON on the last line."""
    name, path, side, threads = sys.argv[1:]
    module, _, attribute = name.partition(":")
    runtime_class: type[Runtime] = getattr(import_module(module), attribute)
    print(json.dumps(asdict(measure(runtime_class, Path(path), int(side), int(threads)))))
    leave()


def benchmark(bundle: Bundle, *, threads: int = 1) -> list[Timing]:
    """Times every artifact of a bundle that runs on this machine, one after the other, at batch 1."""
    found = ((artifact, bundle.format(artifact).runtime) for artifact in bundle.manifest.artifacts)
    return [measure_apart(bundle, artifact, runtime, threads) for artifact, runtime in found if runtime]
