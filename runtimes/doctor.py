"""Which backends work on this machine, and how to get the others."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from runtimes import isolated


@dataclass(frozen=True)
class Backend:
    """One thing that this toolkit can use.

    Attributes:
        name: What it is for.
        package: Import name.
        distribution: Name in the package registry.
        gives: What works with it.
        remedy: How to get it.
    """

    name: str
    package: str
    distribution: str
    gives: str
    remedy: str


BACKENDS = (
    Backend("onnxruntime", "onnxruntime", "onnxruntime", "runs .onnx files", "pip install 'arbex[onnxruntime]'"),
    Backend("litert", "ai_edge_litert", "ai-edge-litert", "runs .tflite files", "pip install 'arbex[litert]'"),
    Backend(
        "tflite-runtime",
        "tflite_runtime",
        "tflite-runtime",
        "runs .tflite files on older boards",
        "pip install tflite-runtime (Python 3.11 or older, NumPy 1)",
    ),
    Backend(
        "detector",
        "cv2",
        "opencv-python-headless",
        "finds faces, reads videos",
        "pip install 'arbex[detect]'",
    ),
    Backend("training", "lightning_fabric", "lightning-fabric", "arbex train", "pip install 'arbex[train]'"),
    Backend("torch", "torch", "torch", "training and export", "pip install 'arbex[train]'"),
    Backend("onnx export", "onnxscript", "onnxscript", "writes .onnx files", "pip install 'arbex[export]'"),
    Backend("core ml export", "coremltools", "coremltools", "writes .mlpackage", "pip install 'arbex[export]'"),
    Backend("litert export", "litert_torch", "litert-torch", "writes .tflite files", "pip install 'arbex[export]'"),
    Backend(
        "rtx engines",
        "tensorrt_rtx",
        "tensorrt-rtx-cu13",
        "builds engines for RTX GPUs, without one",
        "pip install 'arbex[rtx]'",
    ),
    Backend(
        "torch-tensorrt",
        "torch_tensorrt",
        "torch-tensorrt",
        "arbex export --builder torch-tensorrt, with an NVIDIA GPU",
        "on that machine: pip install 'arbex[jetson]'",
    ),
)


def probe(backend: Backend) -> dict[str, Any]:
    """Tells whether a backend's package is there and can be imported, tried in a process of its own."""
    row = asdict(backend)
    if find_spec(backend.package) is None:
        return {**row, "works": False, "version": None, "why": "not installed"}
    try:
        version = metadata.version(backend.distribution)
    except metadata.PackageNotFoundError:
        version = "unknown"
    code = f"import warnings; warnings.simplefilter('ignore'); import {backend.package}"
    done = subprocess.run(isolated.python(code), capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    why = "" if done.returncode == 0 else (lines[-1] if lines else f"import ended with {done.returncode}")
    return {**row, "works": done.returncode == 0, "version": version, "why": why}


def examine() -> dict[str, Any]:
    """Returns ``{"python", "platform", "backends": [{"name", "works", "version", "gives", "remedy", "why", …}]}``."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "backends": [probe(backend) for backend in BACKENDS],
    }
