"""Intervals against tables of Student's t."""

from __future__ import annotations

import pytest

from arbex.experiments.statistics import estimate, paired


def test_mean_and_interval_by_hand() -> None:
    # mean 2, standard deviation 1, error 1/sqrt(3); t of two degrees of freedom at 97.5 % is 4.3027
    value = estimate([1.0, 2.0, 3.0])
    assert value.mean == 2
    assert value.margin == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert value.text(digits=1) == "2.0 ± 2.5"
    assert value.ci95 == pytest.approx((-0.4841, 4.4841), abs=1e-4)


def test_one_value_has_no_interval() -> None:
    value = estimate([0.5])
    assert value.margin is None
    assert value.text(scale=100) == "50.00"
    assert value.ci95 == (0.5, 0.5)
    with pytest.raises(ValueError, match="no values to estimate"):
        estimate([])


def test_pairs_take_out_what_seeds_have_in_common() -> None:
    ours, theirs = [0.71, 0.80, 0.62], [0.70, 0.79, 0.61]
    gain = paired(ours, theirs)
    assert gain.mean == pytest.approx(0.01)
    assert gain.ci95[0] > 0
    low, high = paired(ours, [0.61, 0.70, 0.79]).ci95
    assert low < 0 < high
