"""Observers against distributions whose best range is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arbex.errors import DataError, UnsupportedError
from calibration import TensorStatistics
from calibration.collector import COUNTED, Collector
from calibration.observers import OBSERVERS, STEPS, observe, rounding_error


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


def test_mse_is_as_good_as_the_best_range_of_a_plain_search() -> None:
    p = torch.linspace(1e-5, 1 - 1e-5, 20_000)
    values = torch.where(p < 0.5, (2 * p).log(), -(2 - 2 * p).log()).reshape(10, -1)  # of Laplace's distribution
    found = observe("mse", collect(values))

    def error(low: float, high: float) -> float:
        step = (high - low) / STEPS
        zero = round(-low / step)
        level = (values / step).round().add(zero).clamp(0, STEPS)
        return float((((level - zero) * step - values) ** 2).mean())

    ends = np.linspace(3, 11, 41)
    assert found.high < 0.97 * float(values.max())
    assert error(found.low, found.high) <= 1.02 * min(error(-end, end) for end in ends)


def test_rounding_error_by_hand() -> None:
    # Bins of 1 whose centers are 0.5 and 1.5; a range of 0 to 255 has steps of 1: both are half a step off.
    seen = collect(torch.tensor([[0.2, 1.9, 255.0]]))
    histogram = seen.histogram.coarsened(0)
    assert rounding_error(histogram, np.array([0.0]), np.array([255.0]))[0] == pytest.approx(0.25 * 2 + 0.25)


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


def test_behind_a_relu_every_observer_starts_at_zero() -> None:
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
    collector.add(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]), 2)  # two windows an image
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
    from arbex.cli.export import CALIBRATORS

    assert tuple(OBSERVERS) == CALIBRATORS
