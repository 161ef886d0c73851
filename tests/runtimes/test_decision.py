"""Limits hold, are violated, or need more images, by the 95 % intervals of what was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.base import Prediction
from runtimes.comparison import Comparison, compare
from runtimes.decision import decide, decide_exactly, rounded_up
from runtimes.manifest import Thresholds
from runtimes.parity import Parity
from tests.runtimes.test_parity import prediction


def agreeing(same: int, n: int) -> Parity:
    """Returns the parity of answers of which so many agree."""
    reference = prediction([[0.6, 0.4]] * n)
    return compare(reference, prediction([[0.6, 0.4]] * same + [[0.4, 0.6]] * (n - same)))


LIMIT = Thresholds(top1_agreement=0.98)


def test_agreement_is_decided_by_its_interval_at_every_size() -> None:
    # Wilson: 990 of 1,000 gives 98.17 to 99.46 %, 94 of 100 gives 87.52 to 97.22 %, 98 of 100 gives 93.00 to 99.45 %
    assert decide(agreeing(990, 1000), LIMIT) == decide(agreeing(1000, 1000), LIMIT)
    assert not decide(agreeing(990, 1000), LIMIT).undecided
    (why,) = decide(agreeing(94, 100), LIMIT).violated
    assert why == "agreement 94.00% (95 %: 87.52% to 97.22%) is below 98.00%"
    assert not decide(agreeing(98, 100), LIMIT).violated
    assert decide(agreeing(98, 100), LIMIT).undecided
    assert decide(agreeing(979, 1000), LIMIT).undecided  # the share alone is below the limit


def test_a_limit_that_is_met_exactly_holds() -> None:
    same = agreeing(30, 30)
    assert decide(replace(same, mean_kl=0.0, mean_kl_ci95=(0.0, 0.0)), Thresholds(mean_kl=0.0)).violated == ()
    assert decide_exactly(replace(same, mean_kl=1e-3), Thresholds(mean_kl=1e-3)).violated == ()


def test_too_few_images_say_how_many_would_do() -> None:
    # if all agree, Wilson's lower end n / (n + 3.84) reaches 98 % at 188.2 images
    (why,) = decide(agreeing(50, 50), LIMIT).undecided
    assert why == ("agreement 100.00% (95 %: 92.87% to 100.00%) does not decide about 98.00%: needs about 200 images")


def test_what_no_number_of_images_decides_is_said() -> None:
    (why,) = decide(agreeing(50, 50), Thresholds(top1_agreement=1.0)).undecided
    assert why.endswith("no number of images can decide it")


@settings(deadline=None, max_examples=30)  # each example draws a thousand samples
@given(st.integers(1, 400), st.floats(0.5, 1.0), st.floats(0.5, 0.99))
def test_with_the_needed_number_of_such_images_the_limit_is_decided(n: int, share: float, limit: float) -> None:
    same = round(n * share)
    found = decide(agreeing(same, n), Thresholds(top1_agreement=limit))
    if found.undecided and "needs about" in found.undecided[0]:
        needed = int(found.undecided[0].split("about ")[-1].split()[0].replace(",", ""))
        assert needed > n
        times = -(-needed // n)
        if times * n < 3000:
            more = decide(agreeing(same * times, n * times), Thresholds(top1_agreement=limit))
            assert not more.undecided or times * n < 1.1 * needed


def skewed(n: int, seed: int = 0) -> Parity:
    """Returns the parity of answers with a mean KL of about 4e-3."""
    random = np.random.default_rng(seed)
    top = random.uniform(0.55, 0.9, n)
    moved = np.clip(top + 0.04 * random.normal(size=n), 0.51, 0.99)
    before, after = (prediction(np.stack([p, 1 - p], -1).tolist()) for p in (top, moved))
    return compare(before, after)


def test_the_divergence_is_decided_by_its_interval() -> None:
    parity = skewed(200)
    low, high = parity.mean_kl_ci95
    assert not decide(parity, Thresholds(mean_kl=1.01 * high)).undecided
    assert decide(parity, Thresholds(mean_kl=0.99 * low)).violated
    near = decide(parity, Thresholds(mean_kl=0.9 * high))
    assert not near.violated
    assert "does not decide about" in near.undecided[0]
    assert "needs about" in near.undecided[0]


def test_chosen_images_are_decided_by_what_was_measured() -> None:
    parity = skewed(20)
    assert decide_exactly(parity, Thresholds(mean_kl=1.001 * parity.mean_kl)).violated == ()
    (why,) = decide_exactly(replace(parity, mean_kl=1.1e-3), Thresholds(mean_kl=1e-3)).violated
    assert why == "mean KL 1.10e-03 exceeds 1e-03"
    assert decide_exactly(parity, Thresholds(mean_kl=0.9 * parity.mean_kl)).violated


def test_the_largest_error_needs_no_interval() -> None:
    a, b = prediction([[0.5, 0.5]]), prediction([[0.625, 0.375]])
    for decision in (decide, decide_exactly):
        assert decision(compare(a, b), Thresholds(max_abs_error=0.125)).violated == ()
        assert decision(compare(a, b), Thresholds(max_abs_error=0.12)).violated == ("max error 1.25e-01 exceeds 1e-01",)
        assert decision(compare(a, b), Thresholds()).violated == ()


@pytest.mark.parametrize("output", [0, 1, 2])
def test_nan_in_any_output_fails_at_every_precision(output: int) -> None:
    good = prediction([[0.6, 0.4]] * 3)
    bad = Prediction(*(a * np.nan if i == output else a for i, a in enumerate(good)))
    for decision in (decide, decide_exactly):
        assert decision(compare(good, bad), Thresholds(mean_kl=1.0)).violated
        assert decision(compare(good, bad), Thresholds(max_abs_error=1.0)).violated


def test_a_confidence_that_ranks_images_otherwise_fails() -> None:
    random = np.random.default_rng(0)
    a = prediction([[0.6, 0.4]] * 200)._replace(confidence=random.random(200, dtype=np.float32))
    upside_down = a._replace(confidence=1 - a.confidence)
    limits = Thresholds(confidence_rank_correlation=0.9, confidence_flips=0.05)
    ranks, flips = decide(compare(a, upside_down), limits).violated
    assert ranks.startswith("rank correlation of confidence -1.0000")
    assert flips.startswith("share of flips of confidence 21.00%")
    same = decide(compare(a, a), limits)
    assert not same.violated
    assert not same.undecided


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_confidence_that_says_nothing_any_more_fails(constant: float) -> None:
    random = np.random.default_rng(0)
    a = prediction([[0.6, 0.4]] * 200)._replace(confidence=random.random(200, dtype=np.float32))
    limits = Thresholds(confidence_rank_correlation=0.9)
    (why,) = decide(compare(a, a._replace(confidence=np.full(200, constant, np.float32))), limits).violated
    assert why.startswith("rank correlation of confidence 0.0000")


def test_worse_calibration_fails_and_better_does_not() -> None:
    labels = np.array([0, 1] * 300)
    honest, sure = prediction([[0.55, 0.45]] * 600), prediction([[0.95, 0.05]] * 600)
    (why,) = decide(compare(honest, sure, labels), Thresholds(ece_delta=0.02)).violated
    assert why.startswith("change of ECE +0.4000")
    assert not decide(compare(sure, honest, labels), Thresholds(ece_delta=0.02)).violated


def test_the_class_that_loses_most_is_named() -> None:
    a = prediction([[0.9, 0.1]] * 500 + [[0.1, 0.9]] * 500)
    b = prediction([[0.9, 0.1]] * 500 + [[0.9, 0.1]] * 200 + [[0.1, 0.9]] * 300)
    labels = np.array([0] * 500 + [1] * 500)
    (why,) = decide(compare(a, b, labels, ("calm", "glad")), Thresholds(recall_change=-0.1)).violated
    assert why.startswith("change of recall of glad -40.00%")
    assert why.endswith("is below -10.00%")


def test_the_worst_group_is_judged() -> None:
    """All images together agree well enough; those of one group do not."""
    a, b = prediction([[0.9, 0.1]] * 2000), prediction([[0.9, 0.1]] * 1980 + [[0.1, 0.9]] * 20)
    comparison = Comparison(("calm", "glad"))
    comparison.add(a, b, groups=np.array(["glasses=no"] * 1900 + ["glasses=yes"] * 100))
    found = decide(comparison.parity(), LIMIT)
    (why,) = found.violated
    assert why.startswith("agreement of glasses=yes 80.00% (95 %: 71.1")


@pytest.mark.parametrize(("value", "expected"), [(7, 7), (101, 110), (188.2, 190), (18834, 19000), (2.5, 3)])
def test_a_number_that_is_only_about_right_has_two_digits(value: float, expected: int) -> None:
    assert rounded_up(value) == expected
