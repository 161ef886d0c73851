"""What calibration keeps of a tensor; its size does not depend on the number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibration.histogram import Histogram

GRID = 2.0**-24
"""Unit of the sums, which are whole numbers of it, so that they do not depend on the order of the images."""


@dataclass(frozen=True)
class TensorRange:
    """Smallest and largest value of a tensor: those that INT8 represents, or those that were seen."""

    low: float
    high: float


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of an activation over a set of images.

    Attributes:
        low: Smallest value.
        high: Largest value.
        low_sum: Sum over the images of each one's smallest value, in units of 2 ** -24.
        high_sum: Sum over the images of each one's largest value, in the same units.
        images: Number of images.
        histogram: Histogram of values that are evenly spaced over each image's part of the tensor.
    """

    low: float
    high: float
    low_sum: int
    high_sum: int
    images: int
    histogram: Histogram

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """Returns the statistics of both sets of images."""
        return TensorStatistics(
            min(self.low, other.low),
            max(self.high, other.high),
            self.low_sum + other.low_sum,
            self.high_sum + other.high_sum,
            self.images + other.images,
            self.histogram.merge(other.histogram),
        )


def to_grid(value: float) -> int:
    """Returns a finite value in units of the sums."""
    return round(math.ldexp(value, 24))
