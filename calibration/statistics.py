"""What calibration keeps of a tensor, whatever the number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibration.histogram import Histogram

GRID = 2.0**-24
"""Unit of the sums: they are whole numbers of it, so that adding them up depends on no order."""


@dataclass(frozen=True)
class TensorRange:
    """Smallest and largest value that INT8 can represent of a tensor, or that it took."""

    low: float
    high: float


@dataclass(frozen=True)
class TensorStatistics:
    """What an activation showed over a number of images; it has the same size for any number.

    Attributes:
        low: Smallest value.
        high: Largest value.
        low_sum: Sum over the images of each one's smallest value, in units of 2 ** -24.
        high_sum: The same of the largest values.
        images: How many images that were.
        histogram: Of values that are evenly spaced over each image's part of the tensor.
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
