"""Targets, which are device families: what their bundles hold, and the limits of the artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from arbex.provenance import Recipe
from runtimes.manifest import Thresholds


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device family.

    Attributes:
        name: Name on the command line and of the bundle's folder.
        formats: Names of the formats of its artifacts, in the order in which they are made.
        precisions: Precisions that are exported by default.
        device: The device, as a phrase for people.
        recipe: Recipe of its INT8 graphs.
        half: Whether the float parts of an INT8 graph compute in float16, as accelerators prefer.
        compute_capability: Compute capability of its NVIDIA GPU, which compiles the ONNX files: that of a Jetson Orin,
            for example, is 8.7. Empty for devices without one.
        in_all: Whether ``all`` includes it.
        usage: How to use the artifacts, as Markdown with ``{artifact}`` (path in the bundle of the most compact
            artifact of the last format), ``{side}`` (of the input, in pixels) and ``{identifier}`` (the artifact's
            name as a programming language would write it).
    """

    name: str
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    device: str
    recipe: Recipe
    half: bool = False
    compute_capability: str = ""
    in_all: bool = True
    usage: str


GOLDEN_KL = 2e-2
"""Limit of INT8 on golden vectors, in nats. Most of them are close calls, on which a program is four times as far from
PyTorch as on others."""

CALIBRATED_GOLDEN_KL = 6e-2
"""The same for models with temperatures, whose answers swing on close calls: the demo's programs are 2e-2 from PyTorch
there, and 1e-4 on other images."""

ON_SAMPLES: Final = {
    "confidence_rank_correlation": 0.95,
    "confidence_flips": 0.1,
    "ece_delta": 0.03,
    "recall_change": -0.15,
}
"""Limits of what may be lost beside agreement. An intact file keeps them on every set that is large enough to decide
about its agreement."""

THRESHOLDS = {
    "fp32": Thresholds(max_abs_error=1e-5),
    "fp16": Thresholds(mean_kl=1e-3, golden_kl=1e-3, top1_agreement=0.99, **ON_SAMPLES),
    "int8": Thresholds(mean_kl=5e-3, golden_kl=GOLDEN_KL, top1_agreement=0.98, program_kl=1e-5, **ON_SAMPLES),
}
"""Limits of all artifacts by precision."""
