"""How far an artifact's distributions are from PyTorch's: the figures, and the measures behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arbex.spec import PROBABILITY_FLOOR
from runtimes.intervals import Interval

SHARE_ABOVE: Final = 0.9
"""Share of the images that are accepted at the threshold of ``confidence`` at which flips are counted."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GroupParity:
    """Comparison over the n images of a group.

    Attributes:
        samples: Number of images.
        top1_agreement: Share of images with the same most probable class.
        top1_agreement_ci95: Its 95 % interval (Wilson's).
        recall_change: Change of the share of images that are recognized; None without labels.
        recall_change_ci95: Its 95 % interval.
    """

    samples: int
    top1_agreement: float
    top1_agreement_ci95: Interval
    recall_change: float | None = None
    recall_change_ci95: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Comparison over n images; of ``corrected`` unless stated otherwise. Divergences are in nats.

    Attributes:
        samples: Number of images.
        max_abs_error: Largest absolute difference in any of the three outputs.
        primary_max_abs_error: Largest absolute difference in ``primary``.
        confidence_max_abs_error: Largest absolute difference in ``confidence``.
        mean_kl: Mean of KL(PyTorch, artifact).
        mean_kl_ci95: Its 95 % interval (bootstrap-t over the images).
        p99_kl: 99th percentile of KL(PyTorch, artifact).
        max_kl: Largest KL(PyTorch, artifact) of an image.
        jensen_shannon: Mean Jensen-Shannon divergence, at most ln 2.
        top1_agreement: Share of images with the same most probable class.
        top1_agreement_ci95: Its 95 % interval (Wilson's).
        confidence_rank_correlation: Spearman's rank correlation of ``confidence``; None if PyTorch's is constant.
        confidence_rank_correlation_ci95: Its 95 % interval.
        confidence_flips: Share of images whose ``confidence`` crosses the threshold that 90 % of the images exceed in
            PyTorch; None if PyTorch's is constant.
        confidence_flips_ci95: Its 95 % interval (Wilson's).
        ece_delta: Change of the expected calibration error; None without labels.
        ece_delta_ci95: Its 95 % interval (bootstrap over the images).
        recall_change: Change of the recall by class; None without labels.
        recall_change_ci95: Its 95 % intervals by class.
        groups: Comparison by group of images; empty if none were given.
    """

    samples: int
    max_abs_error: float
    primary_max_abs_error: float
    confidence_max_abs_error: float
    mean_kl: float
    mean_kl_ci95: Interval
    p99_kl: float
    max_kl: float
    jensen_shannon: float
    top1_agreement: float
    top1_agreement_ci95: Interval
    confidence_rank_correlation: float | None
    confidence_rank_correlation_ci95: Interval | None
    confidence_flips: float | None
    confidence_flips_ci95: Interval | None
    ece_delta: float | None = None
    ece_delta_ci95: Interval | None = None
    recall_change: Mapping[str, float] | None = None
    recall_change_ci95: Mapping[str, Interval] | None = None
    groups: Mapping[str, GroupParity] = field(default_factory=dict)


def kl_divergence(p: NDArray[np.floating], q: NDArray[np.floating]) -> Floats:
    """Returns ``KL(p, q)`` in nats, [n], for distributions [n, N]."""
    a, b = (np.maximum(x.astype(np.float64), PROBABILITY_FLOOR) for x in (p, q))
    out: Floats = np.maximum((a * (np.log(a) - np.log(b))).sum(-1), 0.0)
    return out


def jensen_shannon_divergence(p: NDArray[np.floating], q: NDArray[np.floating]) -> Floats:
    """Returns the Jensen-Shannon divergence in nats, [n], for distributions [n, N] (J. Lin 1991)."""
    middle = (p.astype(np.float64) + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2


def ranks(values: NDArray[np.floating]) -> Floats:
    """Returns ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    out: Floats = ((ends - counts + 1 + ends) / 2)[inverse]
    return out


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Returns Spearman's rank correlation of values with a reference.

    Args:
        a: The reference [n].
        b: The values [n].

    Returns:
        The correlation, 0 if the values are constant, or None if the reference is.
    """
    ra, rb = ranks(a), ranks(b)
    if ra.std() == 0:
        return None
    if rb.std() == 0:
        return 0.0
    return float(np.corrcoef(ra, rb)[0, 1])


def flipped(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns whose confidence crosses the threshold that ``SHARE_ABOVE`` of the images exceed before, ``[n]``."""
    threshold = np.quantile(before, 1 - SHARE_ABOVE)
    flips: NDArray[np.bool_] = (before >= threshold) != (after >= threshold)
    return flips
