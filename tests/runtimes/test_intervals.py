"""Intervals against SciPy, published numbers and simulated samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtimes.intervals import (
    correlation_interval,
    mean_interval,
    paired_interval,
    resampled_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (98, 100), (1000, 1000)])
def test_wilson_agrees_with_scipy(k: int, n: int) -> None:
    expected = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 2000), st.data())
def test_a_share_lies_in_its_interval(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1


def test_a_paired_change_by_hand() -> None:
    # 6 lost, 1 gained of 100; with one half more of each: (1.5 - 6.5) / 102 = -.04902,
    # half a width of 1.95996 sqrt(8 - 25 / 102) / 102 = .05351
    assert paired_interval(6, 1, 100) == pytest.approx((-0.10253, 0.00449), abs=1e-5)
    assert paired_interval(1, 6, 100) == pytest.approx((-0.00449, 0.10253), abs=1e-5)


def test_nothing_changed_on_few_images_tells_little() -> None:
    low, high = paired_interval(0, 0, 10)
    assert low == -high
    assert high > 0.15


def test_a_correlation_by_hand() -> None:
    # z = atanh(.5) = .54931; half a width of 1.95996 sqrt(1.125 / 47) = .30323
    assert correlation_interval(0.5, 50) == pytest.approx((np.tanh(0.24607), np.tanh(0.85254)), abs=1e-4)
    assert correlation_interval(1.0, 50) == (1.0, 1.0)
    assert correlation_interval(0.5, 3) == (-1.0, 1.0)


def test_the_mean_of_skewed_divergences_is_covered_more_often_than_by_percentiles() -> None:
    random = np.random.default_rng(0)
    samples, truth = random.lognormal(mean=-8, sigma=1.5, size=(200, 100)), np.exp(-8 + 1.5**2 / 2)

    def coverage(interval: Callable[[NDArray[np.float64]], tuple[float, float]]) -> float:
        return float(np.mean([low <= truth <= high for low, high in map(interval, samples)]))

    studentized = coverage(mean_interval)
    percentiles = coverage(lambda values: resampled_interval(len(values), lambda counts: float(counts @ values / 100)))
    assert studentized >= 0.9
    assert studentized > percentiles


def test_the_interval_of_a_mean_shrinks_with_more_images_and_is_the_same_every_time() -> None:
    values = np.random.default_rng(0).exponential(size=4000)
    few, many = mean_interval(values[:100]), mean_interval(values)
    assert few[1] - few[0] > 4 * (many[1] - many[0])
    assert mean_interval(values) == many


def test_one_image_tells_nothing_and_equal_ones_tell_their_value() -> None:
    assert mean_interval(np.array([0.5])) == (-np.inf, np.inf)
    assert mean_interval(np.array([0.25, 0.25])) == (0.25, 0.25)
    assert mean_interval(np.zeros(9)) == (0.0, 0.0)


def test_a_resampled_statistic_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).normal(size=200)
    found = resampled_interval(200, lambda counts: float(counts @ values / counts.sum()))
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(2))
    assert found == pytest.approx(tuple(expected.confidence_interval), abs=0.02)
