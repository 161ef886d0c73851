"""What calibration keeps of a tensor; its size does not depend on the number of images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibration.histogram import Histogram

GRID = 2.0**-24
"""Unit of the sums, which are whole numbers of it, so that they do not depend on the order of the images."""


CHANNEL_GRID = 2.0**-12
"""Unit of the values that are added up by channel."""


@dataclass(frozen=True)
class TensorRange:
    """What an INT8 program knows of a tensor.

    Attributes:
        low: Smallest value that INT8 represents, or that was seen.
        high: Largest value, likewise.
        means: Mean of each channel, of which biases make use (``quantize.bias_correction``); empty if not known.
    """

    low: float
    high: float
    means: tuple[float, ...] = ()


@dataclass(frozen=True)
class ChannelSums:
    """Sums of a tensor's values by channel.

    Attributes:
        sums: Sum of each channel, in units of 2 ** -12, to which every value was rounded.
        count: Number of values of each channel.
    """

    sums: tuple[int, ...]
    count: int

    @property
    def means(self) -> tuple[float, ...]:
        """Mean of each channel, to four significant digits."""
        return tuple(float(f"{total * CHANNEL_GRID / self.count:.4g}") for total in self.sums)

    def merge(self, other: ChannelSums) -> ChannelSums:
        """Returns the sums of both sets of images."""
        sums = tuple(mine + its for mine, its in zip(self.sums, other.sums, strict=True))
        return ChannelSums(sums, self.count + other.count)


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
        channels: Sums by channel, if a layer reads the tensor.
    """

    low: float
    high: float
    low_sum: int
    high_sum: int
    images: int
    histogram: Histogram
    channels: ChannelSums | None = None

    @property
    def means(self) -> tuple[float, ...]:
        """Mean of each channel; empty if not known."""
        return self.channels.means if self.channels else ()

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """Returns the statistics of both sets of images."""
        return TensorStatistics(
            min(self.low, other.low),
            max(self.high, other.high),
            self.low_sum + other.low_sum,
            self.high_sum + other.high_sum,
            self.images + other.images,
            self.histogram.merge(other.histogram),
            self.channels.merge(other.channels) if self.channels and other.channels else None,
        )


def to_grid(value: float) -> int:
    """Returns a finite value in units of the sums."""
    return round(math.ldexp(value, 24))
