"""What each target consists of: the table that is checked before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from arbex.errors import MissingPackageError, UnsupportedError
from arbex.spec import PRECISIONS
from quantize.recipe import ACCELERATOR, CPU, Recipe
from runtimes.manifest import Thresholds


@dataclass(frozen=True)
class Target:
    """A device family.

    Attributes:
        name: On the command line and as the bundle's folder.
        formats: Formats of its artifacts, in the order in which they are made.
        default: Precisions when none is asked for.
        device: What it is, for people.
        recipe: How INT8 is placed in its graphs.
    """

    name: str
    formats: tuple[str, ...]
    default: tuple[str, ...]
    device: str
    recipe: Recipe


TARGETS = {
    "jetson": Target("jetson", ("onnx",), ("fp16", "int8"), "NVIDIA Jetson with TensorRT 10 or 11", ACCELERATOR),
    "iphone": Target("iphone", ("mlpackage",), ("fp16", "int8"), "iPhone or iPad with iOS 17 or later", ACCELERATOR),
    "android": Target("android", ("tflite",), ("fp32", "int8"), "Android phone or ARM board with LiteRT", CPU),
    "rtx": Target("rtx", ("onnx", "rtx-engine"), ("fp16", "int8"), "PC with an RTX GPU and TensorRT-RTX", ACCELERATOR),
    "cpu": Target("cpu", ("onnx",), ("fp32", "int8"), "any CPU, through ONNX Runtime", CPU),
}

SUFFIXES = {
    "onnx": "onnx",
    "mlpackage": "mlpackage",
    "tflite": "tflite",
    "rtx-engine": "rtx.engine",
    "tensorrt-engine": "tensorrt.engine",
}

HALF_ACTIVATIONS = ("jetson", "rtx", "iphone")
"""Targets whose float parts of an int8 graph compute in float16, as their accelerators do best."""

PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxsim"),
    "mlpackage": ("coremltools",),
    "tflite": ("litert_torch",),
    "rtx-engine": ("tensorrt_rtx",),
}
"""What writes each format."""

THRESHOLDS = {
    "fp32": Thresholds(max_abs_error=1e-5),
    "fp16": Thresholds(mean_kl=1e-3, top1_agreement=0.99),
    "int8": Thresholds(mean_kl=5e-3, top1_agreement=0.98),
}


def choose_targets(names: Sequence[str]) -> list[Target]:
    """Returns the targets of those names, ``all`` for all of them, each once.

    Raises:
        UnsupportedError: If a name is unknown or none is given.
    """
    unknown = [name for name in names if name not in (*TARGETS, "all")]
    if unknown or not names:
        what = f"The target {unknown[0]!r} is not known." if unknown else "No target was given."
        raise UnsupportedError(what, allowed=f"Allowed: {', '.join(TARGETS)}, all.")
    chosen = list(TARGETS) if "all" in names else dict.fromkeys(names)
    return [TARGETS[name] for name in chosen]


def choose_precisions(target: Target, asked: Sequence[str]) -> tuple[str, ...]:
    """Returns the precisions of a target, in a fixed order.

    Raises:
        UnsupportedError: If one is unknown.
    """
    unknown = [name for name in asked if name not in PRECISIONS]
    if unknown:
        raise UnsupportedError(
            f"The precision {unknown[0]!r} is not known.", allowed=f"Allowed: {', '.join(PRECISIONS)}."
        )
    return tuple(p for p in PRECISIONS if p in asked) if asked else target.default


def require_packages(formats: Iterable[str]) -> None:
    """Refuses formats whose package is missing, before any work starts.

    Raises:
        MissingPackageError: If one is not installed.
    """
    for name in sorted(formats):
        for package in PACKAGES[name]:
            if find_spec(package) is None:
                extra = "rtx" if name == "rtx-engine" else "export"
                raise MissingPackageError(package, f"writing {SUFFIXES[name]} files", extra=extra)
