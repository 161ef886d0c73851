"""Collecting the statistics of a tensor while images pass through the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arbex.errors import DataError
from calibration.histogram import Histogram, bin_of, fitting_exponent
from calibration.statistics import CHANNEL_GRID, ChannelSums, TensorStatistics, to_grid

COUNTED = 2**13
"""Largest number of values per image in a histogram, evenly spaced over the tensor; the ends come from all values."""

CHUNK = 2**17
"""Number of values that are counted at a time: they fit in the processor's cache, and no whole map is copied."""


def count(values: Tensor, low: float, high: float) -> Histogram:
    """Returns the histogram of float values whose smallest and largest are known."""
    exponent = fitting_exponent(low, high)
    first = bin_of(low, exponent)
    bins = bin_of(high, exponent) - first + 1
    scale = math.ldexp(1.0, -exponent)
    counts = torch.zeros(bins, dtype=torch.int64)
    for part in torch.split(values.flatten(), CHUNK):
        # Scaling by a power of two and rounding down are exact, so that the bins do not depend on the batch.
        numbers = (part * scale).floor_().sub_(first).to(torch.int32)
        counts += torch.bincount(numbers, minlength=bins)
    return Histogram(exponent, first, counts.numpy())


def sum_channels(values: Tensor, axis: int) -> ChannelSums:
    """Returns the sums of a float tensor's values by channel, the dimension ``axis``.

    Whole numbers are added up, in float64, so that the sums do not depend on the order.
    """
    others = [dimension for dimension in range(values.ndim) if dimension != axis % values.ndim]
    total = torch.zeros(values.shape[axis], dtype=torch.float64)
    for part in torch.split(values, max(1, CHUNK // values[0].numel())):
        total += (part / CHANNEL_GRID).round_().sum(others, dtype=torch.float64)
    return ChannelSums(tuple(map(int, total.tolist())), values.numel() // len(total))


class Collector:
    """Collects the statistics of one tensor, batch after batch.

    Args:
        name: Name of the tensor, for messages.
        axis: Dimension of the channels, if sums by channel are wanted.
    """

    def __init__(self, name: str, axis: int | None = None) -> None:
        """Starts empty."""
        self.name, self.axis = name, axis
        self.seen: TensorStatistics | None = None

    def add(self, values: Tensor, images: int) -> None:
        """Adds a float tensor that was computed from a batch of images.

        Args:
            values: Tensor; if its first dimension is a multiple of ``images``, each image has an equal part.
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
        step = -(-parts.shape[1] // COUNTED) | 1  # odd, so that it does not hit the same column of every row
        histogram = count(parts[:, ::step], low, high)
        channels = None if self.axis is None else sum_channels(values, self.axis)
        new = TensorStatistics(low, high, low_sum, high_sum, images, histogram, channels)
        self.seen = new if self.seen is None else self.seen.merge(new)
