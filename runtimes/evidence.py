"""What a report shows of the images behind the figures of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arbex.spec import ECE_BINS, PROBABILITY_FLOOR
from runtimes.parity import Floats, GroupParity

WORST: Final = 10
"""Number of images to show that differ most."""

EDGES: Final = np.linspace(-9, 1, 31)
"""Decimal logarithms of the divergences at which the bars of their distribution end; smaller ones are in the first."""


@dataclass(frozen=True, kw_only=True)
class WorstImage:
    """An image whose answers are far apart.

    Attributes:
        name: Its file, or its number among all images.
        image: uint8 RGB ``[S, S, 3]``.
        kl: KL(PyTorch, artifact) of ``corrected`` in nats.
        expected: ``corrected`` of PyTorch, by class.
        found: ``corrected`` of the artifact, by class.
        label: Its class; None if it is not known.
    """

    name: str
    image: NDArray[np.uint8]
    kl: float
    expected: Mapping[str, float]
    found: Mapping[str, float]
    label: str | None


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Images whose largest probability lies in one bin of a reliability diagram.

    Attributes:
        share: Share of all images.
        probability: Mean of the largest probability.
        accuracy: Share of these images that are recognized.
    """

    share: float
    probability: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What lies behind the figures.

    Attributes:
        divergences: Share of the images per bar between ``EDGES``.
        before: Reliability diagram of PyTorch; empty without labels.
        after: Reliability diagram of the artifact; empty without labels.
        by_class: Agreement by class, or without labels by PyTorch's answer.
        worst: The images that differ most, the worst first.
    """

    divergences: tuple[float, ...]
    before: tuple[ReliabilityBin, ...]
    after: tuple[ReliabilityBin, ...]
    by_class: Mapping[str, GroupParity]
    worst: tuple[WorstImage, ...]


def distribution(kl: Floats) -> tuple[float, ...]:
    """Returns the share of divergences per bar between ``EDGES``; values beyond the ends count at the ends."""
    decades = np.clip(np.log10(np.maximum(kl, PROBABILITY_FLOOR)), EDGES[0], EDGES[-1])
    counts, _ = np.histogram(decades, EDGES)
    return tuple((counts / max(1, len(kl))).tolist())


def reliability(top: NDArray[np.float32], right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Returns the bins of a reliability diagram that hold images (M. DeGroot and S. Fienberg 1983).

    Args:
        top: Largest probability of each image [n].
        right: Whether its class is the true one [n].
    """
    bins = np.clip((top * ECE_BINS).astype(int), 0, ECE_BINS - 1)
    return tuple(
        ReliabilityBin(
            share=float((bins == k).mean()),
            probability=float(top[bins == k].mean()),
            accuracy=float(right[bins == k].mean()),
        )
        for k in np.unique(bins)
    )
