"""Figures of parity against numbers computed by hand and against SciPy and torchmetrics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtimes.base import Prediction
from runtimes.manifest import Thresholds
from runtimes.parity import calibration_error, compare, kl_divergence, rank_correlation, violations, wilson_interval


def prediction(corrected: list[list[float]]) -> Prediction:
    p = np.array(corrected, dtype=np.float32)
    return Prediction(p, p, p.max(-1))


def test_kl_of_two_coins() -> None:
    # .5 ln(.5/.25) + .5 ln(.5/.75) = .14384
    kl = kl_divergence(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]]))
    assert kl[0] == pytest.approx(0.14384, abs=1e-5)


def test_kl_of_a_zero_is_finite() -> None:
    assert math.isfinite(kl_divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))[0])


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_kl_is_not_negative_and_zero_for_equals(a: list[float], b: list[float]) -> None:
    p, q = np.array([a]) / sum(a), np.array([b]) / sum(b)
    assert kl_divergence(p, q)[0] >= 0
    assert kl_divergence(p, p)[0] == pytest.approx(0, abs=1e-12)
    assert kl_divergence(p, q)[0] == pytest.approx(scipy.stats.entropy(p[0], q[0]), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (98, 100), (1000, 1000)])
def test_wilson_agrees_with_scipy(k: int, n: int) -> None:
    expected = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_rank_correlation_agrees_with_scipy_and_knows_constants() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 9, 50).astype(float)
    b = a + rng.normal(size=50)
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert rank_correlation(a, np.ones(50)) is None


def test_calibration_error_agrees_with_torchmetrics() -> None:
    import torch  # here, since all other tests do without it
    from torchmetrics.functional.classification import multiclass_calibration_error

    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 400)
    labels = rng.integers(0, 5, 400)
    expected = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), 5, n_bins=15)
    assert calibration_error(p, labels) == pytest.approx(float(expected), abs=1e-6)


def test_a_probability_of_one_belongs_to_the_last_bin() -> None:
    # Confidences 1 and .95 share a bin: a gap of 1 for the mistake and of -.05 for the other, .95 over two images.
    p = np.array([[1.0, 0.0], [0.95, 0.05]])
    assert calibration_error(p, np.array([1, 0])) == pytest.approx(0.95 / 2)


def test_neighboring_bins_are_apart_up_to_the_last() -> None:
    # Confidence 1 for a mistake and .9 for a right answer: gaps of 1 and -.1 that do not cancel.
    p = np.array([[1.0, 0.0], [0.9, 0.1]])
    assert calibration_error(p, np.array([1, 0])) == pytest.approx((1 + 0.1) / 2)


def test_compare_by_hand() -> None:
    even, coin = [0.5, 0.5], [0.25, 0.75]
    parity = compare(prediction([even] * 4), prediction([even, coin, even, even]))
    # .14384 once and 0 three times: a mean of a quarter of it, a deviation of sqrt(3) / 4 of it, by sqrt(4) images
    assert parity.mean_kl == pytest.approx(0.14384 / 4, abs=1e-5)
    assert parity.mean_kl_error == pytest.approx(0.14384 * 3**0.5 / 4 / 2, abs=1e-5)
    assert parity.max_kl == pytest.approx(0.14384, abs=1e-5)
    swapped = compare(prediction([coin]), prediction([even]))
    assert swapped.mean_kl == pytest.approx(0.13081, abs=1e-5)  # .25 ln(.25/.5) + .75 ln(.75/.5)


def test_agreement_is_of_the_most_probable_class() -> None:
    a = prediction([[0.6, 0.3, 0.1]] * 3)
    b = prediction([[0.3, 0.6, 0.1], [0.6, 0.1, 0.3], [0.5, 0.1, 0.4]])
    assert compare(a, b).top1_agreement == pytest.approx(2 / 3)


def test_divergence_and_agreement_are_of_the_corrected_distribution() -> None:
    a = prediction([[0.6, 0.4], [0.7, 0.3]])
    other = compare(a, replace_output(a, primary=a.primary[:, ::-1]))
    assert (other.mean_kl, other.max_kl, other.top1_agreement) == (0.0, 0.0, 1.0)


def test_each_output_is_compared_with_its_own() -> None:
    a = prediction([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2]])
    assert compare(a, replace_output(a, confidence=a.confidence[::-1])).confidence_rank_correlation == pytest.approx(-1)
    assert compare(a, replace_output(a, confidence=a.confidence + 0.25)).max_abs_error == pytest.approx(0.25)
    assert compare(a, replace_output(a, primary=a.primary + 0.125)).max_abs_error == pytest.approx(0.125)


def replace_output(whole: Prediction, **parts: NDArray[np.float32]) -> Prediction:
    return whole._replace(**parts)


def test_calibration_worsens_by_a_positive_number() -> None:
    right = np.array([0])
    parity = compare(prediction([[0.9, 0.1]]), prediction([[0.6, 0.4]]), right)
    assert parity.ece_delta == pytest.approx(0.3, abs=1e-6)


def test_compare_counts_agreement_and_the_largest_error() -> None:
    a = prediction([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    b = prediction([[0.6, 0.4], [0.55, 0.45], [0.9, 0.1]])
    parity = compare(a, b)
    assert parity.samples == 3
    assert parity.top1_agreement == pytest.approx(2 / 3)
    assert parity.max_abs_error == pytest.approx(0.15, abs=1e-6)
    assert parity.ece_delta is None


def test_nan_never_passes() -> None:
    a, b = prediction([[0.5, 0.5]]), prediction([[float("nan"), 0.5]])
    parity = compare(a, b)
    assert violations(parity, Thresholds(max_abs_error=1.0))
    assert violations(parity, Thresholds(mean_kl=1.0))


def agreeing(same: int, n: int) -> list[str]:
    reference = prediction([[0.6, 0.4]] * n)
    other = prediction([[0.6, 0.4]] * same + [[0.4, 0.6]] * (n - same))
    return violations(compare(reference, other), Thresholds(top1_agreement=0.98))


def test_on_few_images_agreement_fails_where_its_interval_lies_below_the_limit() -> None:
    # Wilson's upper end: 97 of 100 gives 98.97 %, 94 of 100 gives 97.22 %
    assert agreeing(97, 100) == []
    assert agreeing(1000, 1000) == []
    assert "at most 97.22%" in agreeing(94, 100)[0]
    assert agreeing(0, 10)


def test_from_a_thousand_images_on_the_measured_agreement_counts() -> None:
    assert agreeing(980, 1000) == []
    assert agreeing(979, 1000) == ["agreement 97.90% is below 98.00%"]
    assert agreeing(978, 999) == []


@pytest.mark.parametrize("n", [1, 10, 13, 25, 1000])
def test_full_agreement_passes_the_strictest_limit(n: int) -> None:
    p = prediction([[0.6, 0.4]] * n)
    assert violations(compare(p, p), Thresholds(top1_agreement=1.0)) == []


@pytest.mark.parametrize("output", [0, 1, 2])
def test_nan_in_any_output_fails_at_every_precision(output: int) -> None:
    good = prediction([[0.6, 0.4]])
    bad = Prediction(*(a * np.nan if i == output else a for i, a in enumerate(good)))
    assert violations(compare(good, bad), Thresholds(mean_kl=1.0))


def test_explicit_limits_take_precedence_and_always_apply() -> None:
    int8 = Thresholds(mean_kl=5e-3, top1_agreement=0.98)
    assert int8.overridden(mean_kl=None, top1_agreement=0.9) == Thresholds(mean_kl=5e-3, top1_agreement=0.9)
    assert int8.overridden(mean_kl=1e-3, top1_agreement=None) == Thresholds(mean_kl=1e-3, top1_agreement=0.98)
    fp32 = Thresholds(max_abs_error=1e-5)
    limited = Thresholds(max_abs_error=1e-5, mean_kl=1.0, top1_agreement=0.999)
    assert fp32.overridden(mean_kl=1.0, top1_agreement=0.999) == limited
    assert fp32.overridden(mean_kl=None, top1_agreement=None) == fp32


def kl_of(mean_kl: float, error: float, samples: int) -> list[str]:
    same = prediction([[1.0, 0.0], [0.0, 1.0]])
    parity = replace(compare(same, same), mean_kl=mean_kl, mean_kl_error=error)
    return violations(replace(parity, samples=samples), Thresholds(mean_kl=1e-3))


def test_few_images_are_allowed_what_chance_makes_of_them_but_never_twice_the_limit() -> None:
    assert kl_of(1.1e-3, 0.0, 32)
    assert not kl_of(1.19e-3, 1e-4, 32)  # 1.96 times the error
    assert kl_of(1.2e-3, 1e-4, 32)
    assert not kl_of(2e-3, 1.0, 32)
    assert kl_of(2.1e-3, 1.0, 32)
    assert kl_of(1.1e-3, 1e-4, 1000)
    assert not kl_of(1e-3, 0.0, 1000)


def test_chosen_images_are_allowed_nothing_for_chance() -> None:
    same = prediction([[1.0, 0.0], [0.0, 1.0]])
    parity = replace(compare(same, same), mean_kl=1.1e-3, mean_kl_error=1e-3)
    assert violations(parity, Thresholds(mean_kl=1e-3)) == []
    assert violations(parity, Thresholds(mean_kl=1e-3), exact=True) == ["mean KL 1.10e-03 exceeds 1e-03"]


def test_a_limit_that_is_met_exactly_holds_and_one_of_zero_is_a_limit() -> None:
    a, b = prediction([[0.5, 0.5]]), prediction([[0.625, 0.375]])
    assert violations(compare(a, b), Thresholds(max_abs_error=0.125)) == []
    assert violations(compare(a, b), Thresholds(max_abs_error=0.12)) == ["max error 1.25e-01 exceeds 1e-01"]
    assert violations(compare(a, a), Thresholds(mean_kl=0.0, max_abs_error=0.0)) == []
    assert len(violations(compare(a, b), Thresholds(mean_kl=0.0, max_abs_error=0.0))) == 2
    assert violations(compare(a, b), Thresholds()) == []
