"""Means over seeds, and their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

LEVEL = 0.95
"""Confidence level of the intervals."""

PERCENT = 100.0


class Interval(Protocol):
    """A mean with its 95 % interval, wherever that comes from."""

    @property
    def mean(self) -> float:
        """Mean of the values."""

    @property
    def ci95(self) -> tuple[float, float]:
        """Ends of the interval."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: Mean of the values.
        margin: Half the width of the 95 % interval of the mean (Student's t); None for a single value.
        values: The values.
    """

    mean: float
    margin: float | None
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the estimate as a dictionary."""
        return {"mean": self.mean, "margin": self.margin, "values": list(self.values)}

    def text(self, *, scale: float = 1.0, digits: int = 2, sign: bool = False) -> str:
        """Returns ``71.25 ± 0.40``."""
        mean = f"{self.mean * scale:{'+' if sign else ''}.{digits}f}"
        return mean if self.margin is None else f"{mean} ± {self.margin * scale:.{digits}f}"

    @property
    def ci95(self) -> tuple[float, float]:
        """Ends of the interval; those of a single value are the value."""
        margin = self.margin or 0.0
        return self.mean - margin, self.mean + margin


def estimate(values: Sequence[float]) -> Estimate:
    """Returns the mean of independent values with its 95 % interval.

    Raises:
        ValueError: If there are no values.
    """
    from scipy.stats import t

    count = len(values)
    if count == 0:
        raise ValueError("there are no values to estimate from")
    mean = statistics.fmean(values)
    if count == 1:
        return Estimate(mean=mean, margin=None, values=tuple(values))
    error = statistics.stdev(values) / math.sqrt(count)
    margin = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(mean=mean, margin=margin, values=tuple(values))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Returns the mean difference of paired values, such as those of the same seed."""
    return estimate([one - other for one, other in zip(ours, theirs, strict=True)])
