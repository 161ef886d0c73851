"""Action units of mixtures, and what a crowd says about them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbex.spec import EXPRESSIONS
from arbex.synth import annotators
from arbex.synth.action_units import NAMES, PROTOTYPES, blend, vary


def test_a_blend_is_the_weighted_sum_of_its_expressions() -> None:
    units = blend({"happiness": 0.75, "surprise": 0.25}, 0.8)
    assert units["lip_corner_puller"] == pytest.approx(0.75 * 0.8 * 1.0)
    assert units["jaw_drop"] == pytest.approx(0.25 * 0.8 * 1.0)
    assert units["lips_part"] == pytest.approx(0.8 * (0.75 * 0.7 + 0.25 * 0.6))


@given(st.sampled_from(sorted(PROTOTYPES)), st.floats(0, 1), st.integers(0, 2**32))
def test_units_stay_within_their_range(expression: str, intensity: float, seed: int) -> None:
    units = vary(blend({expression: 1.0}, intensity), np.random.default_rng(seed))
    assert set(units) == set(NAMES)
    assert all(0 <= value <= 1 for value in units.values())


def test_every_prototype_uses_known_units() -> None:
    assert {name for units in PROTOTYPES.values() for name in units} <= set(NAMES)


def test_a_full_expression_is_recognized_and_a_faint_one_looks_neutral() -> None:
    fear = EXPRESSIONS.index("fear")
    full = annotators.perceived({"fear": 1.0}, 1.0, EXPRESSIONS)
    assert full[fear] == pytest.approx(0.90)  # 1 minus the confusions 0.08 and 0.02
    assert full[EXPRESSIONS.index("surprise")] == pytest.approx(0.08)
    assert annotators.perceived({"fear": 1.0}, 0.0, EXPRESSIONS)[0] == pytest.approx(1.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_perceived_is_a_distribution(share: float, intensity: float) -> None:
    p = annotators.perceived({"sadness": share, "disgust": 1 - share}, intensity, EXPRESSIONS)
    assert p.sum() == pytest.approx(1)
    assert (p >= 0).all()


def test_an_even_mixture_divides_the_crowd() -> None:
    p = annotators.perceived({"happiness": 0.5, "surprise": 0.5}, 1.0, EXPRESSIONS)
    two = p[[EXPRESSIONS.index("happiness"), EXPRESSIONS.index("surprise")]]
    assert abs(two[0] - two[1]) < 0.1
    assert two.sum() > 0.9


def test_a_tie_goes_to_the_truth() -> None:
    votes = np.array([4, 4, 2])
    assert annotators.majority(votes, 1) == 1
    assert annotators.majority(votes, 2) == 0


@given(st.lists(st.integers(0, 10), min_size=2, max_size=8).filter(lambda v: sorted(v)[-1] > sorted(v)[-2]))
def test_a_mislabeled_image_has_another_majority_and_as_many_votes(votes: list[int]) -> None:
    before = np.array(votes)
    after = annotators.mislabel(before, np.random.default_rng(0))
    assert after.argmax() != before.argmax()
    assert sorted(after) == sorted(before)
