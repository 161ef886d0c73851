"""Confidence intervals of 95 % for what is measured on a sample of images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from arbex.evaluation.resampling import ENDS, resamples

if TYPE_CHECKING:
    from collections.abc import Callable

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end."""

UNKNOWN: Final[Interval] = (-math.inf, math.inf)
"""The interval of what too few images tell nothing about."""

Z95: Final = 1.959963984540054
"""Half the width of a 95 % interval, in standard errors."""


def wilson_interval(successes: float, n: float) -> Interval:
    """Returns Wilson's interval of a share (E. B. Wilson 1927).

    Args:
        successes: Number of images that count.
        n: Number of all images; neither needs to be whole, so that other numbers of images can be tried.
    """
    if successes in (0, n):  # the formula misses the exact end by a rounding error
        end = Z95**2 / (n + Z95**2)
        return (0.0, end) if successes == 0 else (1.0 - end, 1.0)
    share, z2 = successes / n, Z95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)


def paired_interval(lost: float, gained: float, n: float) -> Interval:
    """Returns the interval of the change of a share on the same images (A. Agresti and Y. Min 2005).

    Args:
        lost: Number of images that count before and not after.
        gained: Number of images that count after and not before.
        n: Number of all images.
    """
    lost, gained, n = lost + 0.5, gained + 0.5, n + 2
    change = (gained - lost) / n
    half = Z95 * math.sqrt(max(0.0, lost + gained - (gained - lost) ** 2 / n)) / n
    return max(-1.0, change - half), min(1.0, change + half)


def correlation_interval(correlation: float, n: int) -> Interval:
    """Returns the interval of Spearman's rank correlation (D. G. Bonett and T. A. Wright 2000)."""
    if n <= 3:
        return -1.0, 1.0
    if abs(correlation) >= 1:
        return correlation, correlation
    half = Z95 * math.sqrt((1 + correlation**2 / 2) / (n - 3))
    return math.tanh(math.atanh(correlation) - half), math.tanh(math.atanh(correlation) + half)


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """Returns the bootstrap-t interval of the mean of values that are not negative (B. Efron 1981).

    Divergences are skewed: few images hold most of them. Unlike plain percentiles, this interval reaches up far enough.
    """
    n, mean = len(values), float(values.mean())
    if n < 2:
        return UNKNOWN
    error = float(values.std()) / math.sqrt(n)
    if error == 0:
        return mean, mean
    ratios = []
    for counts in resamples(n):
        resampled = counts @ values / n
        variance = counts @ (values - resampled) ** 2 / n
        if variance > 0:
            ratios.append((resampled - mean) / math.sqrt(variance / n))
    low, high = np.quantile(ratios, ENDS)
    return max(0.0, mean - float(high) * error), mean - float(low) * error


def resampled_interval(n: int, statistic: Callable[[NDArray[np.float64]], float]) -> Interval:
    """Returns the percentile-bootstrap interval of a statistic of weighted images (B. Efron 1979).

    Args:
        n: Number of images.
        statistic: Returns the statistic for the images' weights ``[n]``.
    """
    if n < 2:
        return UNKNOWN
    low, high = np.quantile([statistic(counts) for counts in resamples(n)], ENDS)
    return float(low), float(high)
