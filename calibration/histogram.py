"""Histograms that merge exactly: their counts do not depend on the order of the images, nor on how they are split."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 2048
"""Largest number of bins; at least half as many span the values, unless these are nearly equal."""

SMALLEST_EXPONENT = -40
"""Exponent of the narrowest bins; values that are closer count as equal."""


def bin_of(value: float, exponent: int) -> int:
    """Returns the number of the bin of width ``2 ** exponent`` that holds a value; bin 0 starts at zero."""
    return math.floor(math.ldexp(value, -exponent))


def fitting_exponent(low: float, high: float) -> int:
    """Returns the smallest exponent at which no more than ``BINS`` bins span ``low`` to ``high``."""
    span = (high - low) / BINS
    exponent = max(SMALLEST_EXPONENT, math.frexp(span)[1] - 2 if span > 0 else SMALLEST_EXPONENT)
    while bin_of(high, exponent) - bin_of(low, exponent) >= BINS:
        exponent += 1
    return exponent


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values in bins whose width is a power of two.

    Bin ``i`` covers ``[i, i + 1) * 2 ** exponent``. Two neighbors make one bin of the next exponent, so that a
    histogram can be made coarser without knowing the values. The exponent depends only on the smallest and the largest
    value. Merging is therefore associative and commutative, to the last count.

    Attributes:
        exponent: Exponent of the width of a bin.
        first: Number of the first bin.
        counts: int64 ``[bins]``, at most ``BINS``.
    """

    exponent: int
    first: int
    counts: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        """Tells whether both hold the same counts in the same bins."""
        if not isinstance(other, Histogram):
            return NotImplemented
        place = (self.exponent, self.first) == (other.exponent, other.first)
        return place and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        """Returns a hash of bins and counts."""
        return hash((self.exponent, self.first, self.counts.tobytes()))

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Lower edges of the bins and the upper edge of the last one, ``[bins + 1]``."""
        return self.width * (self.first + np.arange(len(self.counts) + 1, dtype=np.float64))

    @property
    def centers(self) -> NDArray[np.float64]:
        """Centers of the bins, ``[bins]``."""
        return self.edges[:-1] + self.width / 2

    def coarsened(self, exponent: int) -> Histogram:
        """Returns the same counts in bins of a larger or equal exponent."""
        if exponent == self.exponent:
            return self
        numbers = (self.first + np.arange(len(self.counts))) >> (exponent - self.exponent)
        first = int(numbers[0])
        counts = np.zeros(int(numbers[-1]) - first + 1, np.int64)
        np.add.at(counts, numbers - first, self.counts)
        return Histogram(exponent, first, counts)

    def merge(self, other: Histogram) -> Histogram:
        """Returns the histogram of both sets of values."""
        exponent = max(self.exponent, other.exponent)
        a, b = self.coarsened(exponent), other.coarsened(exponent)
        while max(a.end, b.end) - min(a.first, b.first) > BINS:
            exponent += 1
            a, b = a.coarsened(exponent), b.coarsened(exponent)
        first, end = min(a.first, b.first), max(a.end, b.end)
        counts = np.zeros(end - first, np.int64)
        for part in (a, b):
            counts[part.first - first : part.end - first] += part.counts
        return Histogram(exponent, first, counts)

    @property
    def end(self) -> int:
        """Number of the bin after the last one."""
        return self.first + len(self.counts)
