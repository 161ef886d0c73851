"""Resamples of images for bootstrap intervals, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

REPLICATES: Final = 1000
"""Number of resamples of a bootstrap."""

LEVEL: Final = 0.95
"""Confidence level of the intervals."""

ENDS: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles of the resamples that are the ends of an interval."""


def resamples(n: int) -> Iterator[NDArray[np.float64]]:
    """Yields how often each of n images occurs in each resample, ``[n]``; the same ones at every call."""
    random = np.random.default_rng(0)
    for _ in range(REPLICATES):
        yield np.bincount(random.integers(n, size=n), minlength=n).astype(np.float64)


def resamples_of_groups(groups: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """Yields how often each image occurs in each resample of groups, ``[n]``, such as of people.

    Images of one person are alike: as many images of more people would tell more. An image whose group is not known is
    a group of its own.

    Args:
        groups: Group of each image; empty if it is not known.
    """
    members = member_of_groups(groups)
    for counts in resamples(int(members.max()) + 1):
        yield counts[members]


def member_of_groups(groups: Sequence[str]) -> NDArray[np.int64]:
    """Returns the position of each image's group ``[n]``; an image of an unknown group is one of its own."""
    names = [group or f"\0{i}" for i, group in enumerate(groups)]
    members: NDArray[np.int64] = np.unique(names, return_inverse=True)[1]
    return members
