"""Watching a tensor while images go through the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arbex.errors import DataError
from calibration.histogram import Histogram, bin_of, fitting_exponent
from calibration.statistics import TensorStatistics, to_grid


def count(values: Tensor, low: float, high: float) -> Histogram:
    """Returns the histogram of a float tensor whose smallest and largest value are known."""
    exponent = fitting_exponent(low, high)
    first = bin_of(low, exponent)
    size = bin_of(high, exponent) - first + 1
    # Scaling by a power of two and rounding down are exact, so the bins are those of any other batch.
    numbers = (values * math.ldexp(1.0, -exponent)).floor_().sub_(first).to(torch.int32)
    counts = torch.bincount(numbers.flatten(), minlength=size)
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
        new = TensorStatistics(
            low,
            high,
            share * sum(map(to_grid, lows)),
            share * sum(map(to_grid, highs)),
            images,
            count(parts, low, high),
        )
        self.seen = new if self.seen is None else self.seen.merge(new)
