"""Observers: they derive the range that INT8 represents from the statistics of a tensor.

All observers read the same statistics, so that one calibration serves them all, merged tables included. torchao's
moving-average and histogram observers depend on the order of the images and cannot be merged; these compute the same
from sums and counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arbex.checks import check_name
from calibration.histogram import Histogram, fitting_exponent
from calibration.statistics import GRID, TensorRange, TensorStatistics

STEPS = 255
"""Steps between the 256 values of 8 bits."""

PERCENTILE = 99.99
"""Share of the values, in percent, that the range of ``percentile`` covers; half of the rest is cut at each end."""

MSE_SHARES = np.linspace(0.2, 1.0, 65)
"""Shares of each end of the range that ``mse`` tries."""

ENTROPY_LEVELS = 128
"""Steps of 8 bits on either side of zero."""

ENTROPY_CANDIDATES = 128
"""Number of thresholds that ``entropy`` tries."""


def minmax(seen: TensorStatistics) -> TensorRange:
    """Returns the range of all values that were seen."""
    return TensorRange(seen.low, seen.high)


def moving_average(seen: TensorStatistics) -> TensorRange:
    """Returns the smallest and the largest value of an image, averaged over the images; outliers count little."""
    return TensorRange(seen.low_sum * GRID / seen.images, seen.high_sum * GRID / seen.images)


def within(seen: TensorStatistics, low: float, high: float) -> TensorRange:
    """Returns a range clipped to the values that were seen; it contains at least one of them."""
    low, high = max(seen.low, low), min(seen.high, high)
    return TensorRange(min(low, seen.high), max(high, seen.low))


def percentile(seen: TensorStatistics) -> TensorRange:
    """Returns the range of the middle 99.99 % of the values, to within a bin."""
    counts, edges = seen.histogram.counts, seen.histogram.edges
    share = np.cumsum(counts) / counts.sum()
    tail = (1 - PERCENTILE / 100) / 2
    low = edges[np.searchsorted(share, tail, side="right")]
    high = edges[np.searchsorted(share, 1 - tail, side="left") + 1]
    return within(seen, float(low), float(high))


def rounding_error(histogram: Histogram, lows: NDArray[np.float64], highs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the summed squared error of rounding to 8 bits, for ranges ``[candidates]`` that all contain zero."""
    values = histogram.centers[None]  # [1, bins]
    step = np.maximum((highs - lows) / STEPS, np.finfo(np.float64).tiny)[:, None]
    zero = np.round(-lows[:, None] / step)
    level = np.clip(np.round(values / step) + zero, 0, STEPS)
    out: NDArray[np.float64] = (((level - zero) * step - values) ** 2 * histogram.counts).sum(1)
    return out


def mse(seen: TensorStatistics) -> TensorRange:
    """Returns the range whose 256 values have the smallest mean squared distance to those that were seen.

    The two ends are moved in turn, twice.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    bottom, top = low, high
    for _ in range(2):
        tops = high * MSE_SHARES
        top = float(tops[rounding_error(seen.histogram, np.full_like(tops, bottom), tops).argmin()])
        bottoms = low * MSE_SHARES
        bottom = float(bottoms[rounding_error(seen.histogram, bottoms, np.full_like(bottoms, top)).argmin()])
    return within(seen, bottom, top)


def magnitudes(histogram: Histogram) -> NDArray[np.int64]:
    """Returns counts of absolute values, ``[bins]`` from zero on.

    The first bin gets the count of the second: after a ReLU most values are zero, which any threshold represents.
    """
    numbers = histogram.first + np.arange(len(histogram.counts))
    folded = np.where(numbers < 0, -numbers - 1, numbers)
    out = np.zeros(int(folded.max()) + 1, np.int64)
    np.add.at(out, folded, histogram.counts)
    out[0] = out[1] if len(out) > 1 else out[0]
    return out


def divergence(counts: NDArray[np.int64], kept: int, levels: int) -> float:
    """Returns KL between the first ``kept`` bins, outliers added to the last, and the same bins in ``levels`` steps."""
    p = counts[:kept].astype(np.float64)
    p[-1] += counts[kept:].sum()
    starts = (np.arange(levels) * kept) // levels  # first bin of each step
    inside, held = counts[:kept].astype(np.float64), counts[:kept] > 0
    members = np.maximum(np.add.reduceat(held, starts, dtype=np.float64), 1)
    sizes = np.diff(np.append(starts, kept))
    q = np.where(held, np.repeat(np.add.reduceat(inside, starts) / members, sizes), 0)
    shared = (p > 0) & (q > 0)
    if not shared.any():
        return float("inf")
    # An outlier in an empty last bin has no counterpart: the smallest probability stands for it.
    q = np.where((p > 0) & (q == 0), q[q > 0].min(), q)
    p, q = p / p.sum(), q / q.sum()
    at = p > 0
    return float((p[at] * np.log(p[at] / q[at])).sum())


def entropy(seen: TensorStatistics) -> TensorRange:
    """Returns the range up to the magnitude that loses the least information, as TensorRT's calibrator did.

    S. Migacz, *8-bit inference with TensorRT*, GTC 2017. If all values have one sign, all 256 steps are on its side.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    histogram = seen.histogram.coarsened(max(seen.histogram.exponent, fitting_exponent(low, high)))
    counts = magnitudes(histogram)
    levels = 2 * ENTROPY_LEVELS if seen.low >= 0 or seen.high <= 0 else ENTROPY_LEVELS
    if len(counts) <= levels:
        return minmax(seen)
    candidates = np.unique(np.linspace(levels, len(counts), ENTROPY_CANDIDATES).astype(int))
    best = min(candidates, key=lambda kept: divergence(counts, int(kept), levels))
    threshold = float(best) * histogram.width
    return within(seen, -threshold, threshold)


OBSERVERS: dict[str, Callable[[TensorStatistics], TensorRange]] = {
    "minmax": minmax,
    "moving-average": moving_average,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
"""Observers by their name on the command line."""


AUTO = "auto"
"""In place of an observer's name: the one of ``CANDIDATES`` that costs less, tensor by tensor."""

CANDIDATES = ("minmax", "mse")
"""Observers between which ``auto`` chooses: not to cut a range at all, or to cut it where values are rare."""

CALIBRATORS = (AUTO, *OBSERVERS)
"""What the command line takes."""


def observe(name: str, seen: TensorStatistics) -> TensorRange:
    """Returns the range that an observer derives, with the means of the channels.

    Raises:
        UnsupportedError: If there is no observer of that name.
    """
    check_name("calibrator", name, OBSERVERS)
    return replace(OBSERVERS[name](seen), means=seen.means)
