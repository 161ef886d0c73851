"""Data refinement: quotas, repetition, shares of processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbex.data.sampler import RefinementSampler

LABELS = [0] * 90 + [1] * 9 + [2] * 1
GROUPS = ["a"] * 50 + ["b"] * 50


def make(sampling: str = "quota", **change: int) -> RefinementSampler:
    numbers = {"per_group": 512, "per_class": 30, "seed": 1, **change}
    return RefinementSampler(LABELS, GROUPS, sampling=sampling, **numbers)


def test_every_class_fills_its_quota_and_a_small_one_is_repeated() -> None:
    drawn = list(make())
    assert Counter(LABELS[i] for i in drawn) == {0: 30, 1: 30, 2: 30}
    counts = Counter(drawn)
    assert all(counts[i] in (3, 4) for i in range(90, 99))  # 30 draws of 9 images
    assert max(counts[i] for i in range(90)) == 1  # a large class is not repeated
    assert len(make()) == 90


def test_a_group_gives_no_more_than_its_quota() -> None:
    sampler = RefinementSampler([0] * 100, GROUPS, per_group=5, per_class=1000, seed=0)
    drawn = set(sampler)
    assert len([i for i in drawn if i < 50]) == 5
    assert len([i for i in drawn if i >= 50]) == 5


def test_how_often_small_classes_are_repeated() -> None:
    assert make().repeats() == pytest.approx({1: 30 / 9, 2: 30.0})
    assert make(per_group=25).repeats() == pytest.approx({1: 30 / 4.5, 2: 60.0})  # half of each group is in the pool
    assert make(per_class=1).repeats() == {}


def test_natural_sampling_shows_every_image_once() -> None:
    sampler = make("natural")
    assert sorted(sampler) == list(range(100))
    assert list(sampler) != list(range(100))
    assert len(sampler) == 100
    assert sampler.repeats() == {}
    assert len(make("natural", per_group=25)) == len(list(make("natural", per_group=25))) == 50


def test_square_root_sampling_is_between_natural_and_even() -> None:
    sampler = make("square-root")
    # The square roots of 90, 9 and 1 are 9.49, 3 and 1, of 13.49 in all.
    assert Counter(LABELS[i] for i in sampler) == {0: 70, 1: 22, 2: 7}
    assert len(sampler) == 99
    assert sampler.repeats() == pytest.approx({1: 22 / 9, 2: 7.0})


def test_images_without_a_group_are_on_their_own() -> None:
    sampler = RefinementSampler([0] * 100, [""] * 100, per_group=5, per_class=100, seed=0)
    assert len(set(sampler)) == 100


def test_the_choice_depends_on_seed_and_epoch_alone() -> None:
    sampler = make()
    sampler.choose_epoch(3)
    first = list(sampler)
    sampler.choose_epoch(4)
    assert list(sampler) != first
    sampler.choose_epoch(3)
    assert list(sampler) == first
    assert list(make(seed=2)) != list(make())


@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_share_the_choice_without_overlap(world: int) -> None:
    whole = make().indices()
    whole = whole[: len(whole) // world * world]  # processes keep step: what cannot be shared out is left
    parts = [list(make(rank=rank, world_size=world)) for rank in range(world)]
    assert np.stack(parts, axis=1).ravel().tolist() == whole.tolist()
    assert {len(part) for part in parts} == {len(make(world_size=world))}


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40))
def test_quotas_hold_for_any_numbers(classes: int, per_group: int, per_class: int) -> None:
    labels = [i % classes for i in range(60)]
    sampler = RefinementSampler(labels, [str(i % 4) for i in range(60)], per_group=per_group, per_class=per_class)
    counts = Counter(labels[i] for i in sampler)
    assert counts == dict.fromkeys(range(classes), per_class)
