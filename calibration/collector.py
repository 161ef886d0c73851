"""Watching a tensor while images go through the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arbex.errors import DataError
from calibration.histogram import Histogram, bin_of, fitting_exponent
from calibration.statistics import TensorStatistics, to_grid

COUNTED = 2**13
"""Values that an image adds to a tensor's histogram at most, evenly spaced over it; the ends come from all values."""

CHUNK = 2**17
"""Values that are counted at a time: they stay in the processor's cache, and copies of whole maps are not made."""


def count(values: Tensor, low: float, high: float) -> Histogram:
    """Returns the histogram of float values that lie between two known ones."""
    exponent = fitting_exponent(low, high)
    first = bin_of(low, exponent)
    bins = bin_of(high, exponent) - first + 1
    scale = math.ldexp(1.0, -exponent)
    counts = torch.zeros(bins, dtype=torch.int64)
    for part in torch.split(values.flatten(), CHUNK):
        # Scaling by a power of two and rounding down are exact, so the bins are those of any other batch.
        numbers = (part * scale).floor_().sub_(first).to(torch.int32)
        counts += torch.bincount(numbers, minlength=bins)
    return Histogram(exponent, first, counts.numpy())


class Collector:
    """Collects the statistics of one tensor, batch after batch."""

    def __init__(self, name: str) -> None:
        """Starts empty; ``name`` is the tensor's, for messages."""
        self.name = name
        self.seen: TensorStatistics | None = None

    def add(self, values: Tensor, images: int) -> None:
        """Adds a float tensor that a batch of images gave rise to.

        Args:
            values: Any shape; where the first dimension is a multiple of ``images``, each image has an equal part.
            images: Batch size.

        Raises:
            DataError: If a value is not finite: the images or the weights hold NaN or infinity.
        """
        parts = values.reshape(images, -1) if values.shape[0] % images == 0 else values.reshape(1, -1)
        lows, highs = parts.amin(1).tolist(), parts.amax(1).tolist()
        if not all(map(math.isfinite, lows + highs)):
            raise DataError(
                f"Calibration saw values from {min(lows)} to {max(highs)} in {self.name!r}.",
                remedy="Check the calibration images and the weights: neither may hold NaN or infinity.",
            )
        low, high, share = min(lows), max(highs), images // len(lows)
        low_sum, high_sum = share * sum(map(to_grid, lows)), share * sum(map(to_grid, highs))
        step = -(-parts.shape[1] // COUNTED) | 1  # odd, so that it does not fall in step with rows
        histogram = count(parts[:, ::step], low, high)
        new = TensorStatistics(low, high, low_sum, high_sum, images, histogram)
        self.seen = new if self.seen is None else self.seen.merge(new)
