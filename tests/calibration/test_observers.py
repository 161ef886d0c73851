"""Observers against distributions whose best range is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arbex.errors import DataError, UnsupportedError
from calibration import TensorStatistics
from calibration.collector import COUNTED, Collector
from calibration.histogram import Histogram, fitting_exponent
from calibration.observers import CALIBRATORS, OBSERVERS, magnitudes, observe, rounding_error


def collect(*batches: torch.Tensor) -> TensorStatistics:
    collector = Collector("x")
    for batch in batches:
        collector.add(batch, len(batch))
    assert collector.seen is not None
    return collector.seen


def normal(n: int = 100_000) -> torch.Tensor:
    return torch.randn(20, n // 20, generator=torch.Generator().manual_seed(0))


def test_a_large_map_is_counted_in_part_but_its_ends_are_not() -> None:
    values = torch.rand(2, 100_000, generator=torch.Generator().manual_seed(0))
    values[0, 1], values[1, 5] = -7.0, 9.0  # neither lies on the grid
    seen = collect(values)
    assert (seen.low, seen.high) == (-7.0, 9.0)
    assert COUNTED / 2 < seen.histogram.counts.sum() / 2 <= COUNTED
    assert observe("percentile", seen).high < 1.1


def test_statistics_of_two_sets_are_merged_by_hand() -> None:
    one, two = collect(torch.tensor([[-1.0, 2.0]])), collect(torch.tensor([[-3.0, 1.0], [0.5, 5.0]]))
    for merged in (one.merge(two), two.merge(one)):
        assert (merged.low, merged.high, merged.images) == (-3.0, 5.0, 3)
        assert (merged.low_sum, merged.high_sum) == (round(-3.5 * 2**24), round(8.0 * 2**24))
        assert merged.histogram.counts.sum() == 6


def test_minmax_is_all_that_was_seen() -> None:
    found = observe("minmax", collect(torch.tensor([[1.0, -2.0], [0.5, 7.0]])))
    assert (found.low, found.high) == (-2.0, 7.0)


def test_moving_average_is_the_mean_of_the_images_own_ends() -> None:
    found = observe("moving-average", collect(torch.tensor([[1.0, -2.0], [0.5, 7.0]]), torch.tensor([[-3.0, 4.0]])))
    assert (found.low, found.high) == ((-2.0 + 0.5 - 3.0) / 3, (1.0 + 7.0 + 4.0) / 3)


def test_percentile_cuts_half_of_the_rest_at_each_end() -> None:
    found = observe("percentile", collect(normal()))
    low, high = np.percentile(normal().numpy(), [0.005, 99.995])
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_percentile_drops_one_outlier_of_many() -> None:
    values = torch.rand(20, 5_000, generator=torch.Generator().manual_seed(0))
    values[0, 0] = 100.0
    assert observe("minmax", collect(values)).high == 100.0
    assert observe("percentile", collect(values)).high < 1.1


def test_percentile_of_few_values_cuts_nothing() -> None:
    """A ten-thousandth of ten values is none: the outermost bins are part of the range, but not beyond the values."""
    found = observe("percentile", collect(torch.tensor([[-3.3, -1.0, 0.1, 0.7, 9.9]])))
    assert found == observe("minmax", collect(torch.tensor([[-3.3, 9.9]])))


def test_ranges_of_values_that_are_all_positive_do_not_reach_to_zero() -> None:
    seen = collect(torch.linspace(5.0, 6.0, 1000).reshape(1, -1))
    for name in OBSERVERS:
        assert observe(name, seen).low == 5.0, name
        assert observe(name, seen).high == pytest.approx(6.0, abs=0.01), name


def mean_square(values: torch.Tensor, low: float, high: float) -> float:
    """Returns what 256 values from low to high, zero among them, cost."""
    step = (high - low) / 255
    zero = round(-low / step)
    level = (values / step).round().add(zero).clamp(0, 255)
    return float((((level - zero) * step - values) ** 2).mean())


P = torch.linspace(1e-5, 1 - 1e-5, 20_000)
LAPLACE = torch.where(P < 0.5, (2 * P).log(), -(2 - 2 * P).log()).reshape(10, -1)
"""Evenly spaced quantiles of that distribution, from -10.8 to 10.8."""


def with_outlier(values: torch.Tensor, outlier: float) -> torch.Tensor:
    changed = values.clone()
    changed[0, 0] = outlier
    return changed


@pytest.mark.parametrize(
    ("values", "lows", "highs"),
    [
        (LAPLACE, -np.linspace(3, 11, 17), np.linspace(3, 11, 17)),
        (with_outlier(LAPLACE.abs(), 40.0), [0.0], np.linspace(8, 40, 33)),
        (with_outlier(-LAPLACE.abs(), -40.0), -np.linspace(8, 40, 33), [0.0]),
        (with_outlier(20 + LAPLACE.abs().repeat(10, 1) / 8, 22.5), [0.0], np.linspace(21, 23, 41)),
    ],
    ids=["two tails", "a far outlier", "a far negative outlier", "far from zero"],
)
def test_mse_is_as_good_as_the_best_range_of_a_plain_search(
    values: torch.Tensor, lows: Sequence[float], highs: Sequence[float]
) -> None:
    found = observe("mse", collect(values))
    best = min(mean_square(values, low, high) for low in lows for high in highs)
    assert mean_square(values, min(found.low, 0.0), max(found.high, 0.0)) <= 1.03 * best


def test_mse_cuts_what_is_rare() -> None:
    found = observe("mse", collect(LAPLACE))
    assert found.high < 0.97 * float(LAPLACE.max())
    assert found.low > 0.97 * float(LAPLACE.min())


def test_rounding_error_by_hand() -> None:
    # Bins of 1 whose centers are 0.5 and 1.5; a range of 0 to 255 has steps of 1: both are half a step off.
    seen = collect(torch.tensor([[0.2, 1.9, 255.0]]))
    histogram = seen.histogram.coarsened(0)
    assert rounding_error(histogram, np.array([0.0]), np.array([255.0]))[0] == pytest.approx(0.25 * 2 + 0.25)
    # In bins of 1/2, the centers are .25, 1.75 and 255.25: a quarter of a step off, and the last one by being cut.
    # Two of the first and three of the second count so often.
    often = collect(torch.tensor([[0.2, 0.2, 1.9, 1.9, 1.9, 255.0]])).histogram.coarsened(-1)
    assert rounding_error(often, np.array([0.0]), np.array([255.0]))[0] == pytest.approx(6 * 0.0625)
    # A range from -51 to 204 has zero as its 51st step: -60 is cut to -51, 209 to 204.
    wide = Histogram(1, -30, np.array([1] + [0] * 133 + [1]))  # centers -59 and 209
    assert rounding_error(wide, np.array([-51.0]), np.array([204.0]))[0] == pytest.approx(8**2 + 5**2)


def test_magnitudes_by_hand() -> None:
    # Bins from -3 to 1: -3 joins 2, -2 joins 1, -1 joins 0, which then counts as much as 1.
    assert magnitudes(Histogram(0, -3, np.array([1, 2, 4, 8, 16]))).tolist() == [18, 18, 1]


def plain_threshold(counts: Sequence[int], levels: int) -> int:
    """Returns how many bins of magnitudes are kept, as published, in plain loops.

    S. Migacz, 8-bit inference with TensorRT, GTC 2017.
    """
    best, least = 0, math.inf
    for kept in sorted({int(k) for k in np.linspace(levels, len(counts), 128)}):
        p = [float(n) for n in counts[:kept]]
        p[-1] += sum(counts[kept:])
        q = [0.0] * kept
        for step in range(levels):
            inside = range(step * kept // levels, (step + 1) * kept // levels)
            held = [i for i in inside if counts[i]]
            for i in held:
                q[i] = sum(counts[j] for j in inside) / len(held)
        smallest = min(value for value in q if value)
        q = [smallest if one and not other else other for one, other in zip(p, q)]
        whole_p, whole_q = sum(p), sum(q)
        kl = sum(a / whole_p * math.log(a / whole_p / (b / whole_q)) for a, b in zip(p, q) if a)
        if kl < least - 1e-12:
            best, least = kept, kl
    return best


def heavy_tailed() -> torch.Tensor:
    quantiles = torch.linspace(1e-4, 1 - 1e-4, 20_000)
    return ((2 * quantiles - 1) / (2 * quantiles * (1 - quantiles)).sqrt()).reshape(10, -1)  # of Student's t, 2 degrees


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (heavy_tailed(), 128),
        (heavy_tailed().relu(), 256),
        (-heavy_tailed().relu(), 256),
        (heavy_tailed().abs() + 1, 256),
        (with_outlier(LAPLACE, 13.0), 128),
    ],
    ids=["two tails", "after a ReLU", "negative", "positive", "an outlier"],
)
def test_entropy_is_the_published_threshold(values: torch.Tensor, levels: int) -> None:
    seen = collect(values)
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    histogram = seen.histogram.coarsened(fitting_exponent(low, high))
    kept = plain_threshold(magnitudes(histogram).tolist(), levels)
    threshold = kept * histogram.width
    assert threshold < 0.9 * max(-low, high)
    found = observe("entropy", seen)
    assert (found.low, found.high) == (max(seen.low, -threshold), min(seen.high, threshold))


def test_entropy_keeps_a_flat_distribution_and_cuts_a_long_tail() -> None:
    flat = collect(torch.linspace(-1, 1, 100_000).reshape(10, -1))
    assert observe("entropy", flat).high > 0.95
    heavy = torch.distributions.StudentT(2.0)
    torch.manual_seed(0)
    tailed = collect(heavy.sample((10, 10_000)))
    assert observe("entropy", tailed).high < 0.5 * observe("minmax", tailed).high


@pytest.mark.parametrize("name", OBSERVERS)
@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=6))
def test_every_range_lies_within_what_was_seen(name: str, rows: list[list[float]]) -> None:
    seen = collect(torch.tensor(rows, dtype=torch.float32))
    found = observe(name, seen)
    assert seen.low - 1e-6 <= found.low <= found.high <= seen.high + 1e-6


def test_after_a_relu_every_observer_starts_at_zero() -> None:
    seen = collect(normal().relu())
    for name in ("minmax", "percentile", "mse", "entropy"):
        assert observe(name, seen).low == 0.0
        assert 2.0 < observe(name, seen).high <= seen.high


def test_a_tensor_that_is_always_zero_is_no_trouble() -> None:
    for name in OBSERVERS:
        found = observe(name, collect(torch.zeros(2, 5)))
        assert (found.low, found.high) == (0.0, 0.0)


def test_images_are_told_apart_where_windows_were_cut_out_of_them() -> None:
    seen = collect(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]))
    collector = Collector("windows")
    collector.add(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]), 2)  # two windows per image
    assert collector.seen is not None
    assert collector.seen.images == 2
    assert observe("moving-average", collector.seen).high == (3.0 + 7.0) / 2
    assert observe("moving-average", seen).high == (1.0 + 3.0 + 5.0 + 7.0) / 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_with_the_tensor_s_name(bad: float) -> None:
    with pytest.raises(DataError, match="Calibration saw values from .* in 'x'"):
        collect(torch.tensor([[0.0, bad]]))


def test_an_unknown_observer_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="'median' is not known.*minmax, moving-average"):
        observe("median", collect(torch.zeros(1, 1)))


def test_the_command_line_offers_every_observer() -> None:
    from arbex.cli import export

    assert export.CALIBRATORS == CALIBRATORS == ("auto", *OBSERVERS)
