"""Paired comparisons against numbers worked out by hand, and against what they are for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arbex.experiments.comparison import StoredAnswers as Answers
from arbex.experiments.comparison import compare, mcnemar


def answers(right: list[int] | np.ndarray, people: list[str] | None = None) -> Answers:
    """Answers that are right where there is a 1; the primary ones never are."""
    flags = np.array(right, dtype=bool)
    return Answers(right=flags, primary_right=np.zeros_like(flags), people=np.array(people or [""] * len(flags)))


def test_mcnemars_test_by_hand() -> None:
    # 1 against 5 discordant images: 2 * (C(6,0) + C(6,1)) / 2^6 = 14 / 64
    assert mcnemar(1, 5) == mcnemar(5, 1) == pytest.approx(14 / 64)
    assert mcnemar(3, 3) == pytest.approx(1)
    assert mcnemar(0, 0) == 1


def test_a_difference_by_hand() -> None:
    found = compare([answers([1, 1, 1, 0]), answers([1, 1, 0, 0])], [answers([0, 0, 1, 1]), answers([1, 0, 0, 0])])
    # seed 0: 3/4 - 2/4, two gained and one lost; seed 1: 2/4 - 1/4, one gained
    assert found.mean == pytest.approx(0.25)
    assert (found.gained, found.lost) == (1.5, 0.5)
    assert found.p_value == 1
    assert found.ci95[0] < 0 < found.ci95[1]
    assert found.text().startswith("+25.00 (")


def test_equal_answers_differ_by_nothing() -> None:
    same = [answers([1, 0, 1]), answers([0, 0, 1])]
    found = compare(same, same)
    assert (found.mean, found.ci95, found.p_value) == (0, (0, 0), 1)


def test_a_gain_on_all_seeds_and_people_excludes_zero() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random((3, 600)) < 0.7
    ours = theirs | (rng.random((3, 600)) < 0.2)
    found = compare([answers(row) for row in ours], [answers(row) for row in theirs])
    assert found.ci95[0] > 0
    assert found.p_value < 1e-4


def test_images_of_few_people_and_few_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random((4, 400)) < 0.7
    ours = theirs.copy()
    ours[:, :100] = True  # of ten people, the first quarter alone gains
    people = [str(i // 40) for i in range(400)]
    plain = compare([answers(row) for row in ours], [answers(row) for row in theirs]).ci95
    grouped = compare([answers(row, people) for row in ours], [answers(row, people) for row in theirs]).ci95
    assert grouped[1] - grouped[0] > 2 * (plain[1] - plain[0])
    # Half of the seeds gain and half lose, on all images: no number of images makes that certain.
    uneven = [answers([i % 2] * 400) for i in range(4)], [answers([1 - i % 2] * 400) for i in range(4)]
    low, high = compare(*uneven).ci95
    assert low < 0 < high


def test_answers_are_stored_with_a_run_and_read_back(tmp_path: Path) -> None:
    first = answers([1, 0, 1], ["a", "b", "b"])
    first.write(tmp_path)
    again = Answers.read(tmp_path)
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in vars(first))
    assert not again.uncorrected.right.any()


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        compare([answers([1, 0])], [answers([1, 0, 1])])
