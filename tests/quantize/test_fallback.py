"""The search finds the fewest operators that hold, with few trials."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbex.provenance import PredictedPoint, Trial
from quantize.fallback import MOST_TRIALS, Score, Search
from quantize.sensitivity import Sensitivity


def table(count: int) -> Sensitivity:
    steps = range(count + 1)
    return Sensitivity(
        (),
        tuple(f"op{i}" for i in range(count)),
        tuple(1.0 / (1 + n) for n in steps),
        tuple(1 - n / count for n in steps),
    )


def search(count: int, needed: int) -> tuple[Search, list[tuple[str, ...]]]:
    asked: list[tuple[str, ...]] = []

    def measure(restored: tuple[str, ...]) -> Score:
        asked.append(restored)
        return Score(1.0 / (1 + len(restored)), 1.0, len(restored) >= needed)

    return Search(table(count), measure), asked


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_fewest_are_found_with_few_trials(case: tuple[int, int]) -> None:
    count, needed = case
    searched, asked = search(count, needed)
    found = searched.run()
    assert found.holds
    assert found.restored == tuple(f"op{i}" for i in range(needed))
    assert len(asked) <= MOST_TRIALS
    assert len(set(asked)) == len(asked)
    assert [trial.restored for trial in found.trials] == sorted(len(restored) for restored in asked)


def test_nothing_is_restored_where_the_gate_holds() -> None:
    searched, asked = search(50, 0)
    assert searched.run().restored == ()
    assert asked == [()]


def test_a_gate_that_never_holds_is_said_to_fail() -> None:
    searched, _ = search(10, 11)
    found = searched.run()
    assert not found.holds
    assert len(found.restored) == 10


def test_the_outcome_holds_curve_and_trials_for_the_manifest() -> None:
    found = search(4, 1)[0].run().tradeoff
    assert found.restored == ("op0",)
    assert [trial.restored for trial in found.trials] == [0, 1]
    assert found.trials[1] == Trial(restored=1, int8_share=0.75, predicted_kl=0.5, mean_kl=0.5, agreement=1.0)
    assert len(found.predicted) == 5
    assert found.predicted[0] == PredictedPoint(int8_share=1.0, kl=1.0)
