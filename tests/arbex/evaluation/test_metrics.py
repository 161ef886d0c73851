"""Figures of calibration and confidence against numbers worked out by hand, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from sklearn.metrics import brier_score_loss, f1_score, log_loss, recall_score, roc_auc_score

from arbex.evaluation.metrics import (
    Answers,
    accuracy_at,
    area_under_risk,
    by_confidence,
    calibration_error,
    equal_mass_calibration_error,
    judge,
    measure,
    roc_auc,
)


def drawn(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distributions over five classes, confidences with ties, and labels."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(5), n)
    return p, p.max(-1).round(1), np.where(rng.random(n) < 0.5, p.argmax(-1), rng.integers(0, 5, n))


def answers(confidence: list[float], right: list[int]) -> Answers:
    """Answers with these confidences, of which some are right."""
    p = np.tile([0.6, 0.4], (len(right), 1))
    return judge(p, np.array(confidence), 1 - np.array(right))


def test_calibration_error_agrees_with_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    p, _, labels = drawn()
    expected = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), 5, n_bins=15)
    assert calibration_error(p.max(-1), p.argmax(-1) == labels) == pytest.approx(float(expected), abs=1e-6)


def test_a_probability_of_one_belongs_to_the_last_bin() -> None:
    # Confidences 1 and .95 share a bin: a gap of 1 for the mistake and of -.05 for the other, .95 over two images.
    assert calibration_error(np.array([1.0, 0.95]), np.array([False, True])) == pytest.approx(0.95 / 2)


def test_neighboring_bins_are_apart_up_to_the_last() -> None:
    # Confidence 1 for a mistake and .9 for a right answer: gaps of 1 and -.1 that do not cancel.
    assert calibration_error(np.array([1.0, 0.9]), np.array([False, True])) == pytest.approx((1 + 0.1) / 2)


def test_an_image_that_weighs_twice_counts_twice() -> None:
    top, right = np.array([1.0, 0.9]), np.array([False, True])
    assert calibration_error(top, right, np.array([2.0, 1.0])) == pytest.approx((2 + 0.1) / 3)


def test_bins_of_equal_mass_hold_equally_many_images() -> None:
    # 30 probabilities of .90 to .929, two to a bin; of each two, one is right: every gap is the mean minus .5
    top = 0.9 + np.arange(30) / 1000
    right = np.tile([1.0, 0.0], 15)
    expected = float((top.reshape(15, 2).mean(1) - 0.5).mean())
    assert equal_mass_calibration_error(top, right, np.ones(30)) == pytest.approx(expected)
    # In one wide bin, a bin of 15 times as many images would give the same; a single mistake tells the two apart.
    right = np.array([1.0] * 28 + [0.0, 0.0])
    apart = [abs(t.mean() - r.mean()) for t, r in zip(top.reshape(15, 2), right.reshape(15, 2), strict=True)]
    assert equal_mass_calibration_error(top, right, np.ones(30)) == pytest.approx(float(np.mean(apart)))
    twice = equal_mass_calibration_error(top[:15].repeat(2), right[:15].repeat(2), np.ones(30))
    assert equal_mass_calibration_error(top[:15], right[:15], np.full(15, 2.0)) == pytest.approx(twice)


def test_accuracy_likelihood_and_brier_score_agree_with_scikit_learn() -> None:
    p, confidence, labels = drawn()
    found = measure(judge(p, confidence, labels))
    guess = p.argmax(-1)
    assert found["accuracy"] == pytest.approx((guess == labels).mean())
    assert found["balanced_accuracy"] == pytest.approx(recall_score(labels, guess, average="macro"))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, guess, average="macro"))
    assert found["nll"] == pytest.approx(log_loss(labels, p))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, p, labels=range(5), scale_by_half=False))


def test_auroc_agrees_with_scikit_learn_where_confidences_tie() -> None:
    p, confidence, labels = drawn()
    expected = roc_auc_score(p.argmax(-1) == labels, confidence)
    assert measure(judge(p, confidence, labels))["auroc"] == pytest.approx(expected)


def test_weights_count_like_copies() -> None:
    p, confidence, labels = drawn(60)
    counts = np.random.default_rng(1).integers(0, 4, 60)
    copies = [np.repeat(each, counts, axis=0) for each in (p, confidence, labels)]
    one, other = measure(judge(p, confidence, labels), counts.astype(float)), measure(judge(*copies))
    same = [name for name in one if name != "ece_equal_mass"]  # copies of an image may fall into two bins
    assert [one[name] for name in same] == pytest.approx([other[name] for name in same])


def test_risk_and_coverage_by_hand() -> None:
    # From the most confident on: right, wrong, right, right. Risks 0, 1/2, 1/3, 1/4; their mean is 13/48.
    kept, right = by_confidence(judged := answers([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1]), np.ones(4))
    assert area_under_risk(kept, right) == pytest.approx(13 / 48)
    assert len(judged) == 4
    # Pairs of a right and the wrong one: .9 is above it, .7 and .6 are not.
    assert roc_auc(kept, right) == pytest.approx(1 / 3)
    assert [accuracy_at(kept, right, share) for share in (0.25, 0.5, 0.75, 1.0)] == pytest.approx([1, 0.5, 2 / 3, 0.75])


def test_of_equally_confident_answers_a_part_counts_in_proportion() -> None:
    kept, right = by_confidence(answers([0.9, 0.5, 0.5, 0.5], [1, 1, 0, 0]), np.ones(4))
    # The best half: the first, and a third of the three others, of which a third are right.
    assert accuracy_at(kept, right, 0.5) == pytest.approx((1 + 1 / 3) / 2)
    assert area_under_risk(kept, right) == pytest.approx((0 + 3 * 0.5) / 4)


def test_without_a_mistake_there_is_no_auroc() -> None:
    found = measure(answers([0.9, 0.8], [1, 1]))
    assert math.isnan(found["auroc"])
    assert found["aurc"] == 0
    assert found["accuracy_at_70"] == 1


@given(stnp.arrays(float, 12, elements=st.floats(0, 1)), stnp.arrays(bool, 12))
def test_perfect_order_has_the_least_risk(confidence: np.ndarray, right: np.ndarray) -> None:
    ones = np.ones(12)
    some = area_under_risk(*by_confidence(answers(confidence.tolist(), right.astype(int).tolist()), ones))
    ideal = right + np.linspace(0, 0.5, 12)  # all right answers above all wrong ones
    best = area_under_risk(*by_confidence(answers(ideal.tolist(), right.astype(int).tolist()), ones))
    assert -1e-9 <= best <= some + 1e-9
    assert some <= 1 + 1e-9
