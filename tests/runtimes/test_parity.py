"""Figures of parity against numbers computed by hand and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtimes import comparison as comparing
from runtimes.base import Prediction
from runtimes.comparison import Comparison, compare
from runtimes.parity import (
    flipped,
    jensen_shannon_divergence,
    kl_divergence,
    rank_correlation,
)


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


def test_rank_correlation_agrees_with_scipy_and_knows_constants() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 9, 50).astype(float)
    b = a + rng.normal(size=50)
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert rank_correlation(np.ones(50), a) is None
    assert rank_correlation(a, np.ones(50)) == 0.0


def test_compare_by_hand() -> None:
    even, coin = [0.5, 0.5], [0.25, 0.75]
    parity = compare(prediction([even] * 4), prediction([even, coin, even, even]))
    assert parity.mean_kl == pytest.approx(0.14384 / 4, abs=1e-5)
    assert parity.max_kl == pytest.approx(0.14384, abs=1e-5)
    # of the values 0, 0, 0 and .14384, the 99th percentile is 97 % of the way from the third to the last
    assert parity.p99_kl == pytest.approx(0.97 * 0.14384, abs=1e-5)
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


def test_jensen_shannon_by_hand_and_at_its_largest() -> None:
    # of a coin that always shows heads and a fair one: the middle is (.75, .25)
    # (ln(1/.75) + .5 ln(.5/.75) + .5 ln(.5/.25)) / 2 = (.28768 - .20273 + .34657) / 2
    found = jensen_shannon_divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    assert found[0] == pytest.approx(0.21576, abs=1e-5)
    apart = jensen_shannon_divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert apart[0] == pytest.approx(math.log(2), abs=1e-6)


def test_the_errors_of_single_outputs() -> None:
    a = prediction([[0.6, 0.4], [0.7, 0.3]])
    parity = compare(a, a._replace(primary=a.primary + 0.125, confidence=a.confidence + 0.25))
    assert parity.primary_max_abs_error == pytest.approx(0.125)
    assert parity.confidence_max_abs_error == pytest.approx(0.25)


def test_flips_cross_the_threshold_that_nine_of_ten_exceed() -> None:
    before = np.arange(10, dtype=np.float32)  # its 10 % quantile is .9
    after = before.copy()
    assert not flipped(before, after).any()
    after[1] = 0.5  # falls below
    after[5] = 9.0  # stays above
    after[0] = 0.95  # rises above
    assert flipped(before, after).nonzero()[0].tolist() == [0, 1]


def test_recall_changes_by_class() -> None:
    a = prediction([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    b = prediction([[0.2, 0.8], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    parity = compare(a, b, np.array([0, 0, 0, 1, 1]), ("calm", "glad"))
    assert parity.recall_change == pytest.approx({"calm": -1 / 3, "glad": 1 / 2})
    assert parity.recall_change is not None
    assert parity.recall_change_ci95 is not None
    for name, (low, high) in parity.recall_change_ci95.items():
        assert low < parity.recall_change[name] < high


def test_groups_are_judged_on_their_own_images() -> None:
    a = prediction([[0.9, 0.1]] * 4)
    b = prediction([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]])
    comparison = Comparison(("calm", "glad"))
    comparison.add(a, b, np.array([0, 0, 0, 0]), np.array(["glasses=yes", "glasses=yes", "glasses=no", "glasses=no"]))
    groups = comparison.parity().groups
    assert {name: (g.samples, g.top1_agreement, g.recall_change) for name, g in groups.items()} == {
        "glasses=no": (2, 1.0, 0.0),
        "glasses=yes": (2, 0.5, -0.5),
    }


def random_answers(n: int, seed: int, spread: float) -> tuple[Prediction, Prediction, NDArray[np.int64]]:
    """Returns answers of two models, and labels, for n images."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 4))
    moved = logits + spread * random.normal(size=(n, 4))
    before, after = (prediction((np.exp(x) / np.exp(x).sum(-1, keepdims=True)).tolist()) for x in (logits, moved))
    return before, after, random.integers(4, size=n)


@settings(deadline=None, max_examples=30)  # each example draws a thousand samples
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99))
def test_batches_of_any_size_give_the_same_figures(n: int, size: int, seed: int) -> None:
    a, b, labels = random_answers(n, seed, 0.3)
    comparison = Comparison("abcd")
    for start in range(0, n, size):
        part = slice(start, start + size)
        comparison.add(Prediction(*(x[part] for x in a)), Prediction(*(x[part] for x in b)), labels[part])
    found, whole = comparison.parity(), compare(a, b, labels, "abcd")
    assert found.samples == n
    for name in ("mean_kl", "jensen_shannon"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name))
    for name in (
        "top1_agreement",
        "max_abs_error",
        "max_kl",
        "p99_kl",
        "recall_change",
        "confidence_flips",
        "ece_delta",
    ):
        assert getattr(found, name) == getattr(whole, name), name


def test_memory_does_not_grow_with_the_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "KEPT", 200)
    whole, sampled = Comparison("abcd"), Comparison("abcd")
    for seed in range(100):
        answers = random_answers(50, seed, 0.3)
        sampled.add(*answers)
        assert sum(len(part.kl) for part in sampled.rows) <= 450
    monkeypatch.setattr(comparing, "KEPT", 5000)
    for seed in range(100):
        whole.add(*random_answers(50, seed, 0.3))
    few, all_ = sampled.parity(), whole.parity()
    assert few.samples == 5000
    assert few.mean_kl == pytest.approx(all_.mean_kl)
    assert (few.max_kl, few.top1_agreement, few.recall_change) == (all_.max_kl, all_.top1_agreement, all_.recall_change)
    assert few.p99_kl == pytest.approx(all_.p99_kl, rel=0.5)
    assert few.confidence_rank_correlation == pytest.approx(all_.confidence_rank_correlation, abs=0.1)
    assert few.ece_delta == pytest.approx(all_.ece_delta, abs=0.05)


def test_kept_images_are_drawn_from_all() -> None:
    values = np.arange(1000.0)
    lots = np.random.default_rng(0).random(1000)
    pairs = np.zeros((1000, 2))
    kept = comparing.Rows(values, pairs.astype(np.float32), pairs.astype(np.float32), pairs > 0, lots).fewer(100)
    assert len(kept.kl) == 100
    assert kept.kl.mean() == pytest.approx(500, abs=100)


def test_what_is_constant_or_unlabeled_is_left_out() -> None:
    a = Prediction(*(np.ones(shape, np.float32) for shape in ((3, 2), (3, 2), (3,))))
    parity = compare(a, a)
    assert parity.confidence_rank_correlation is None
    assert parity.confidence_flips is None
    assert parity.ece_delta is None
    assert parity.recall_change is None
