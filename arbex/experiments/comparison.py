"""Comparing two settings on the same test images: paired over images or people, and over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbex.evaluation.resampling import ENDS, REPLICATES, member_of_groups

Bools = NDArray[np.bool_]

DIFFERENCES = (
    "Differences are those of runs of the same seed, with 95 % intervals from a bootstrap over people (images, where "
    "people are not known) and seeds together; p is the median over seeds of McNemar's exact test."
)
"""How they are measured, for the documents."""

ANSWERS = "answers.npz"
"""File in a run of an experiment: what it answers to the test images."""


@dataclass(frozen=True, kw_only=True)
class StoredAnswers:
    """Answers of a run to the n images of the test split.

    Attributes:
        right: Whether the most probable class of the corrected distribution is the right one ``[n]``.
        primary_right: The same of the primary distribution ``[n]``.
        people: Person or video of each image, empty if unknown ``[n]``.
    """

    right: Bools
    primary_right: Bools
    people: NDArray[np.str_]

    @property
    def uncorrected(self) -> StoredAnswers:
        """The answers without correction."""
        return replace(self, right=self.primary_right)

    def write(self, run: Path) -> None:
        """Writes the answers into the folder of a run."""
        np.savez_compressed(run / ANSWERS, **vars(self))

    @classmethod
    def read(cls, run: Path) -> StoredAnswers:
        """Reads what ``write`` wrote; nothing in the file can run."""
        with np.load(run / ANSWERS, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in ("right", "primary_right", "people")})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Difference of two settings in accuracy.

    Attributes:
        mean: Mean over seeds and images.
        ci95: Its 95 % interval, from a bootstrap over people (or images, where they are not known) and seeds together.
        gained: Mean number of images that only the first setting recognizes, over seeds.
        lost: Mean number of images that only the second one recognizes.
        p_value: Median over seeds of the exact two-sided p-value of McNemar's test.
    """

    mean: float
    ci95: tuple[float, float]
    gained: float
    lost: float
    p_value: float

    def to_json(self) -> dict[str, Any]:
        """Returns the difference as a dictionary."""
        return {**vars(self), "ci95": list(self.ci95)}

    def text(self) -> str:
        """Returns the difference in points, with its interval."""
        low, high = (100 * end for end in self.ci95)
        return f"{100 * self.mean:+.2f} ({low:+.2f} to {high:+.2f})"


def cells(difference: Difference | None) -> tuple[str, str]:
    """Returns a difference and its p-value as they stand in a table; None is empty."""
    return ("", "") if difference is None else (difference.text(), f"{difference.p_value:.3f}")


def compare(ours: Sequence[StoredAnswers], theirs: Sequence[StoredAnswers]) -> Difference:
    """Compares runs of the same seeds in the same order, on the same images.

    Args:
        ours: Answers of one setting, one per seed.
        theirs: Answers of the other one.

    Raises:
        ValueError: If the numbers of seeds differ, or the images do.
    """
    mine, others = (np.stack([each.right for each in answers]) for answers in (ours, theirs))
    if mine.shape != others.shape:
        raise ValueError(f"answers of {mine.shape} and {others.shape} seeds and images cannot be compared")
    change = mine.astype(np.float64) - others  # [seeds, n]
    members = member_of_groups(ours[0].people.tolist())
    low, high = np.quantile(resampled_means(change, members), ENDS).tolist()
    gained, lost = (mine & ~others).sum(1), (others & ~mine).sum(1)
    p_values = [mcnemar(int(more), int(less)) for more, less in zip(gained, lost, strict=True)]
    return Difference(
        mean=float(change.mean()),
        ci95=(low, high),
        gained=float(gained.mean()),
        lost=float(lost.mean()),
        p_value=statistics.median(p_values),
    )


def resampled_means(change: NDArray[np.float64], members: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the mean change in each resample of seeds and groups, which are drawn independently.

    Args:
        change: Change of each seed and image ``[seeds, n]``.
        members: Position of each image's group ``[n]``.
    """
    random = np.random.default_rng(0)
    seeds, groups = len(change), int(members.max()) + 1
    # Sums by group, so that a resample is a product with the numbers of times that each is drawn.
    sums = np.stack([np.bincount(members, each, groups) for each in change])  # [seeds, groups]
    sizes = np.bincount(members, minlength=groups)
    means = np.empty(REPLICATES)
    for i in range(REPLICATES):
        rows = np.bincount(random.integers(seeds, size=seeds), minlength=seeds)
        columns = np.bincount(random.integers(groups, size=groups), minlength=groups)
        means[i] = rows @ sums @ columns / (seeds * (columns @ sizes))
    return means


def mcnemar(gained: int, lost: int) -> float:
    """Returns the exact two-sided p-value of McNemar's test (Psychometrika 1947).

    Args:
        gained: Number of images that only one of two classifiers recognizes.
        lost: Number of images that only the other one recognizes.
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
