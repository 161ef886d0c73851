"""How far an artifact is from what it was when it was exported.

Against PyTorch, INT8 and float16 need room for rounding, and small defects fit into that room. Against the answers that
the intact artifact itself gave at export, they do not: the same runtime repeats them almost to the last bit on every
processor, and another version of it rounds a few values differently.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runtimes.base import Prediction
from runtimes.manifest import Deviation
from runtimes.parity import kl_divergence


def deviation(reference: Prediction, other: Prediction) -> Deviation:
    """Returns how far answers are from a reference; infinitely far if a value is not finite."""
    differences = [np.abs(a.astype(np.float64) - b).reshape(len(a), -1).max(1) for a, b in zip(reference, other)]
    if not all(np.isfinite(values).all() for values in differences):
        return Deviation(typical_error=math.inf, mean_kl=math.inf, primary_mean_kl=math.inf, confidence_error=math.inf)
    return Deviation(
        typical_error=max(float(np.median(values)) for values in differences),
        mean_kl=mean(kl_divergence(reference.corrected, other.corrected)),
        primary_mean_kl=mean(kl_divergence(reference.primary, other.primary)),
        confidence_error=mean(differences[2]),
    )


def mean(values: NDArray[np.float64]) -> float:
    """Returns the mean as a Python number."""
    return float(values.mean())


FACTOR: Final = 4.0
"""Room for other versions of a runtime: multiple of the artifact's own distance to its program at export."""

FLOOR: Final = Deviation(typical_error=5e-6, mean_kl=1e-6, primary_mean_kl=1e-6, confidence_error=1e-4)
"""Smallest limits, for artifacts that are as close to their program as rounding allows. With the same version of a
runtime, the typical error was below 1e-6 on all processors that were tried."""


def limits_from(shown: Deviation, *, repeats: bool) -> Deviation:
    """Returns the limits for an artifact.

    Args:
        shown: Its distance to its program at export.
        repeats: Whether its runtime gives the same answers wherever the same version of it runs. Values in float16 are
            rounded differently by processors that add in another order.
    """
    return Deviation(
        typical_error=FLOOR.typical_error if repeats else None,
        mean_kl=max(FLOOR.mean_kl, FACTOR * shown.mean_kl),
        primary_mean_kl=max(FLOOR.primary_mean_kl, FACTOR * shown.primary_mean_kl),
        confidence_error=max(FLOOR.confidence_error, FACTOR * shown.confidence_error),
    )


MEANINGS: Final = {
    "typical_error": "typical error",
    "mean_kl": "mean KL",
    "primary_mean_kl": "mean KL of primary",
    "confidence_error": "mean error of confidence",
}
"""Figures as messages call them."""


def exceeded(found: Deviation, limits: Deviation) -> list[str]:
    """Returns the limits that are exceeded, as clauses; empty if all hold."""
    clauses = []
    for name, meaning in MEANINGS.items():
        value, limit = getattr(found, name), getattr(limits, name)
        if limit is not None and not value <= limit:
            clauses.append(f"{meaning} {value:.1e} to its own answers at export exceeds {limit:.1e}")
    return clauses
