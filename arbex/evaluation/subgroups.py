"""How well a model serves each group of images, and the one that it serves worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from arbex.evaluation.metrics import Answers, Floats, measure
from arbex.evaluation.resampling import ENDS, resamples_of_groups

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end."""


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """Scores of the corrected distribution in one group of images.

    Attributes:
        n: Number of images.
        accuracy: Share of right answers, in [0, 1].
        accuracy_ci95: Its 95 % interval, by a bootstrap over people or videos. It is over images where these are not
            known, or where the group consists of one of them, and then says nothing about others like that.
        balanced_accuracy: Mean recall of the classes that occur in the group, in [0, 1].
        ece: Expected calibration error, with 15 bins of equal width, in [0, 1].
    """

    n: int
    accuracy: float
    accuracy_ci95: Interval
    balanced_accuracy: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class WorstGroup:
    """The group with the lowest accuracy.

    Attributes:
        name: Its name.
        accuracy: Its accuracy, in [0, 1].
        ci95: 95 % interval of the lowest accuracy of any group. The lowest of several groups is low by chance, too; the
            interval contains that, since in each resample another group may be the worst.
    """

    name: str
    accuracy: float
    ci95: Interval


def measure_groups(
    answers: Answers, names: NDArray[np.str_], people: Sequence[str]
) -> tuple[dict[str, GroupScores], WorstGroup]:
    """Measures the answers in each group of images.

    Args:
        answers: Answers to n images.
        names: Group of each image ``[n]``.
        people: Person or video of each image; empty if unknown.
    """
    masks = {str(name): (names == name).astype(np.float64) for name in np.unique(names)}
    units = without_lone_people(names, people)
    resampled = np.array([accuracies(answers, masks, weights) for weights in resamples_of_groups(units)])
    found = {}
    for i, (name, mask) in enumerate(masks.items()):
        figures = measure(answers, mask)
        low, high = np.nanquantile(resampled[:, i], ENDS).tolist()
        found[name] = GroupScores(
            n=int(mask.sum()),
            accuracy=figures["accuracy"],
            accuracy_ci95=(low, high),
            balanced_accuracy=figures["balanced_accuracy"],
            ece=figures["ece"],
        )
    worst = min(found, key=lambda name: found[name].accuracy)
    low, high = np.quantile(np.nanmin(resampled, axis=1), ENDS).tolist()
    return found, WorstGroup(name=worst, accuracy=found[worst].accuracy, ci95=(low, high))


def without_lone_people(names: NDArray[np.str_], people: Sequence[str]) -> list[str]:
    """Returns the person of each image; empty where a group has no other, since resampling would then change nothing.

    Args:
        names: Group of each image ``[n]``.
        people: Person of each image; empty if unknown.
    """
    members: dict[str, set[str]] = {}
    for name, person in zip(names.tolist(), people, strict=True):
        members.setdefault(name, set()).add(person)
    alone = {name for name, those in members.items() if len(those) == 1}
    return ["" if name in alone else person for name, person in zip(names.tolist(), people, strict=True)]


def accuracies(answers: Answers, masks: dict[str, Floats], weights: Floats) -> list[float]:
    """Returns the accuracy of weighted images in each group; NaN for a group without weight."""
    found = []
    for mask in masks.values():
        total = mask @ weights
        found.append(float(answers.right @ (mask * weights) / total) if total else float("nan"))
    return found
