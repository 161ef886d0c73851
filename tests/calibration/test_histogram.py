"""Histograms count the same for any order and grouping of the values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calibration.collector import count
from calibration.histogram import BINS, Histogram, bin_of, fitting_exponent

values = st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=40)


def histogram(numbers: list[float]) -> Histogram:
    tensor = torch.tensor(numbers, dtype=torch.float32)
    return count(tensor, float(tensor.min()), float(tensor.max()))


@given(values, values)
def test_merging_is_counting_together(a: list[float], b: list[float]) -> None:
    assert histogram(a).merge(histogram(b)) == histogram(a + b)


@given(values, values, values)
def test_merging_is_associative_and_commutative(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = histogram(a), histogram(b), histogram(c)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))
    assert x.merge(y) == y.merge(x)


@given(values)
def test_every_value_is_in_its_bin(numbers: list[float]) -> None:
    found, stored = histogram(numbers), np.array(numbers, np.float32)
    assert found.counts.sum() == len(numbers)
    assert len(found.counts) <= BINS
    for value in stored:
        assert found.counts[bin_of(float(value), found.exponent) - found.first] > 0
    assert found.edges[0] <= stored.min()
    assert stored.max() < found.edges[-1]


def test_bins_worked_out_by_hand() -> None:
    # 0 to 8 in at most 2048 bins: those of 2 ** -8 would be 2049.
    found = histogram([0.0, 0.01, 8.0])
    assert (found.exponent, found.first, len(found.counts)) == (-7, 0, 1025)
    assert np.flatnonzero(found.counts).tolist() == [0, 1, 1024]
    assert found.width == 1 / 128
    assert found.centers[1] == 1.5 / 128


def bins(exponent: int, first: int, *counts: int) -> Histogram:
    return Histogram(exponent, first, np.array(counts, np.int64))


def test_merging_takes_coarser_bins_only_where_they_are_too_many() -> None:
    whole = bins(0, 0, 1).merge(bins(0, BINS - 1, 2))
    assert (whole.exponent, whole.first, len(whole.counts), whole.counts[-1]) == (0, 0, BINS, 2)
    coarser = bins(0, 0, 1).merge(bins(0, BINS, 2))
    assert (coarser.exponent, coarser.first, len(coarser.counts)) == (1, 0, BINS // 2 + 1)


def test_histograms_are_equal_where_bins_and_counts_are() -> None:
    assert bins(0, 3, 1, 2) == bins(0, 3, 1, 2)
    assert all(bins(0, 3, 1, 2) != other for other in (bins(0, 3, 1, 3), bins(0, 4, 1, 2), bins(1, 3, 1, 2)))


def test_nearly_equal_values_share_a_bin_of_the_smallest_width() -> None:
    assert fitting_exponent(0.0, 0.0) == -40
    assert histogram([0.0, 0.0]).counts.tolist() == [2]


@pytest.mark.parametrize("low", [-1.0, 0.0, 123.0])
def test_at_least_half_of_the_bins_are_used(low: float) -> None:
    exponent = fitting_exponent(low, low + 3.3)
    assert BINS / 2 <= 3.3 / math.ldexp(1.0, exponent) <= BINS
