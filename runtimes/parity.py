"""How far an artifact's distributions are from PyTorch's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbex.spec import ECE_BINS, PROBABILITY_FLOOR
from runtimes.base import Prediction
from runtimes.manifest import Thresholds

EXACT_FROM = 1000
"""Number of images from which measured figures must meet the limits; with fewer, chance is allowed for."""

Z95 = 1.959963984540054
"""Half the width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Parity:
    """Comparison over n images; of ``corrected`` unless stated otherwise.

    Attributes:
        samples: Number of images.
        max_abs_error: Largest absolute difference in any of the three outputs.
        mean_kl: Mean of KL(PyTorch, artifact) in nats.
        mean_kl_error: Standard error of that mean.
        max_kl: Largest KL(PyTorch, artifact) of an image, in nats.
        top1_agreement: Share of images with the same most probable class.
        top1_agreement_ci95: Wilson's 95 % interval of that share.
        confidence_rank_correlation: Spearman's rank correlation of the confidence; None if it is constant.
        ece_delta: Change of the expected calibration error; None without labels.
    """

    samples: int
    max_abs_error: float
    mean_kl: float
    mean_kl_error: float
    max_kl: float
    top1_agreement: float
    top1_agreement_ci95: tuple[float, float]
    confidence_rank_correlation: float | None
    ece_delta: float | None


def kl_divergence(p: NDArray[np.floating], q: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns ``KL(p, q)`` in nats, [n], for distributions [n, N]."""
    a, b = (np.maximum(x.astype(np.float64), PROBABILITY_FLOOR) for x in (p, q))
    out: NDArray[np.float64] = np.maximum((a * (np.log(a) - np.log(b))).sum(-1), 0.0)
    return out


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share (E. B. Wilson 1927)."""
    if successes in (0, n):  # the formula misses the exact end by a rounding error
        end = Z95**2 / (n + Z95**2)
        return (0.0, end) if successes == 0 else (1.0 - end, 1.0)
    share, z2 = successes / n, Z95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    out: NDArray[np.float64] = ((ends - counts + 1 + ends) / 2)[inverse]
    return out


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Returns Spearman's rank correlation, or None if one side is constant."""
    ra, rb = ranks(a), ranks(b)
    if ra.std() == 0 or rb.std() == 0:
        return None
    return float(np.corrcoef(ra, rb)[0, 1])


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Returns the expected calibration error over equal-width bins of the largest probability, with the L1 norm."""
    top = probabilities.max(-1).astype(np.float64)
    right = (probabilities.argmax(-1) == labels).astype(np.float64)
    bins = np.clip((top * ECE_BINS).astype(int), 0, ECE_BINS - 1)
    gaps = np.abs(np.bincount(bins, top - right, ECE_BINS))
    return float(gaps.sum() / len(top))


def compare(reference: Prediction, other: Prediction, labels: NDArray[np.integer] | None = None) -> Parity:
    """Compares an artifact's answers with the reference's on the same images.

    Args:
        reference: PyTorch's answers.
        other: The artifact's answers.
        labels: Classes of the images [n], for the change of calibration.
    """
    p, q = reference.corrected, other.corrected
    kl = kl_divergence(p, q)
    same = int((p.argmax(-1) == q.argmax(-1)).sum())
    errors = [float(np.abs(a.astype(np.float64) - b).max()) for a, b in zip(reference, other, strict=True)]
    if not np.isfinite(errors).all():
        kl, errors = np.full_like(kl, np.inf), [math.inf]
    return Parity(
        samples=len(p),
        max_abs_error=max(errors),
        mean_kl=float(kl.mean()),
        mean_kl_error=float(kl.std() / math.sqrt(len(p))) if np.isfinite(kl).all() else math.inf,
        max_kl=float(kl.max()),
        top1_agreement=same / len(p),
        top1_agreement_ci95=wilson_interval(same, len(p)),
        confidence_rank_correlation=rank_correlation(reference.confidence, other.confidence),
        ece_delta=None if labels is None else calibration_error(q, labels) - calibration_error(p, labels),
    )


def allowed_kl(parity: Parity, limit: float) -> float:
    """Returns the largest allowed mean KL.

    On few images, single ones decide the mean. With fewer than 1,000, it may exceed the limit by its 95 % error, but by
    no more than the limit itself.
    """
    return limit if parity.samples >= EXACT_FROM else limit + min(limit, Z95 * parity.mean_kl_error)


def violations(parity: Parity, thresholds: Thresholds, *, exact: bool = False) -> list[str]:
    """Returns the limits that are violated, as clauses; empty if all hold.

    Args:
        parity: What was measured.
        thresholds: The limits.
        exact: Whether to make no allowance for chance, as for images that were not drawn by chance.
    """
    found = []
    if thresholds.max_abs_error is not None and not parity.max_abs_error <= thresholds.max_abs_error:
        found.append(f"max error {parity.max_abs_error:.2e} exceeds {thresholds.max_abs_error:.0e}")
    allowed = thresholds.mean_kl if exact or thresholds.mean_kl is None else allowed_kl(parity, thresholds.mean_kl)
    if allowed is not None and not parity.mean_kl <= allowed:
        found.append(f"mean KL {parity.mean_kl:.2e} exceeds {thresholds.mean_kl:.0e}")
    limit, highest = thresholds.top1_agreement, parity.top1_agreement_ci95[1]
    if limit is not None and parity.samples >= EXACT_FROM and parity.top1_agreement < limit:
        found.append(f"agreement {parity.top1_agreement:.2%} is below {limit:.2%}")
    elif limit is not None and highest < limit:
        found.append(
            f"agreement {parity.top1_agreement:.2%} on {parity.samples} images, at most {highest:.2%} with 95 % "
            f"confidence, is below {limit:.2%}"
        )
    return found
