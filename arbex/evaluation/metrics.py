"""How good distributions are, and what their confidence is worth. NumPy alone.

Every figure takes a weight per image, so that the resamples of a bootstrap need no copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arbex.spec import ECE_BINS, PROBABILITY_FLOOR

Floats = NDArray[np.float64]

COVERAGES: Final = {"accuracy_at_90": 0.9, "accuracy_at_70": 0.7}
"""Shares of the most confident images of which the accuracy is given, by the name of the figure."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers to n labeled images, as far as the figures need them.

    Attributes:
        labels: Position of each image's class ``[n]``.
        guesses: Position of the most probable class ``[n]``.
        right: Whether both are the same, 0 or 1 ``[n]``.
        top: Probability of the most probable class ``[n]``.
        ranks: Position of each confidence among the different ones, 0 for the lowest ``[n]``.
        surprise: Negative log-likelihood of the label, in nats ``[n]``.
        distance: Squared distance of the distribution from the label ``[n]``, in [0, 2].
        num_classes: Number of classes.
    """

    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]
    right: Floats
    top: Floats
    ranks: NDArray[np.int64]
    surprise: Floats
    distance: Floats
    num_classes: int

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


def judge(probabilities: Floats, confidence: Floats, labels: NDArray[np.int64]) -> Answers:
    """Compares distributions with labels.

    Args:
        probabilities: ``[n, N]``, each row summing to 1 up to rounding.
        confidence: Confidence of each answer ``[n]``.
        labels: Position of each image's class ``[n]``.
    """
    guesses, each = probabilities.argmax(-1), np.arange(len(labels))
    safe = np.maximum(probabilities.astype(np.float64), PROBABILITY_FLOOR)
    safe /= safe.sum(-1, keepdims=True)
    truth = np.zeros_like(safe)
    truth[each, labels] = 1
    return Answers(
        labels=labels,
        guesses=guesses,
        right=(guesses == labels).astype(np.float64),
        top=probabilities[each, guesses].astype(np.float64),
        ranks=np.unique(confidence, return_inverse=True)[1],
        surprise=-np.log(safe[each, labels]),
        distance=((safe - truth) ** 2).sum(-1),
        num_classes=probabilities.shape[1],
    )


def measure(answers: Answers, weights: Floats | None = None) -> dict[str, float]:
    """Returns all figures by name; what is not defined, such as the AUROC without a mistake, is NaN.

    Args:
        answers: The answers.
        weights: Weight of each image ``[n]``; by default all weigh the same.
    """
    w = np.ones(len(answers)) if weights is None else weights
    total = w.sum()
    recall, f1 = by_class(answers, w)
    kept, right = by_confidence(answers, w)
    return {
        "accuracy": float(answers.right @ w / total),
        "balanced_accuracy": float(np.nanmean(recall)),
        "macro_f1": float(np.nanmean(f1)),
        "ece": calibration_error(answers.top, answers.right, w),
        "ece_equal_mass": equal_mass_calibration_error(answers.top, answers.right, w),
        "nll": float(answers.surprise @ w / total),
        "brier": float(answers.distance @ w / total),
        "auroc": roc_auc(kept, right),
        "aurc": area_under_risk(kept, right),
        **{name: accuracy_at(kept, right, share) for name, share in COVERAGES.items()},
    }


def by_class(answers: Answers, weights: Floats) -> tuple[Floats, Floats]:
    """Returns recall and F1 of each class ``[N]``; NaN for classes without images."""
    count = answers.num_classes
    found = np.bincount(answers.labels, weights * answers.right, count)
    there, said = (np.bincount(positions, weights, count) for positions in (answers.labels, answers.guesses))
    there = np.where(there > 0, there, np.nan)
    return found / there, 2 * found / (there + said)


def by_confidence(answers: Answers, weights: Floats) -> tuple[Floats, Floats]:
    """Returns the weight of all answers and of the right ones by distinct confidence, the highest first."""
    each = (weights, weights * answers.right)
    kept, right = (np.bincount(answers.ranks, w).astype(np.float64)[::-1] for w in each)
    there = kept > 0
    return kept[there], right[there]


def calibration_error(top: NDArray[np.floating], right: NDArray[np.generic], weights: Floats | None = None) -> float:
    """Returns the expected calibration error over equal-width bins of the largest probability, with the L1 norm.

    Args:
        top: Largest probability of each image [n].
        right: Whether its class is the true one [n].
        weights: Weight of each image [n]; by default all weigh the same.
    """
    bins = np.clip((top * ECE_BINS).astype(int), 0, ECE_BINS - 1)
    return mean_gap(bins, top, right, np.ones(len(top)) if weights is None else weights)


def equal_mass_calibration_error(top: Floats, right: Floats, weights: Floats) -> float:
    """Returns the expected calibration error over bins that hold equally many images (arXiv 1904.01685)."""
    order = np.argsort(top, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    bins = np.empty(len(top), int)
    bins[order] = np.clip(middle / weights.sum() * ECE_BINS, 0, ECE_BINS - 1)
    return mean_gap(bins, top, right, weights)


def mean_gap(bins: NDArray[np.int64], top: NDArray[np.floating], right: NDArray[np.generic], weights: Floats) -> float:
    """Returns the mean over images of the difference of probability and accuracy in their bin."""
    gaps = top.astype(np.float64) - right.astype(np.float64)
    return float(np.abs(np.bincount(bins, gaps * weights, ECE_BINS)).sum() / weights.sum())


def roc_auc(kept: Floats, right: Floats) -> float:
    """Returns how often a right answer is more confident than a wrong one, ties counting half; NaN without either.

    Args:
        kept: Weight of the answers by distinct confidence, the highest first.
        right: Weight of the right ones among them.
    """
    wrong = kept - right
    below = wrong.sum() - np.cumsum(wrong)
    pairs = right.sum() * wrong.sum()
    return float(right @ (below + wrong / 2) / pairs) if pairs else float("nan")


def risk_and_coverage(kept: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Returns the share of wrong answers among those that are given, and the share that is given.

    Args:
        kept: As for ``roc_auc``.
        right: As for ``roc_auc``.
    """
    given = np.cumsum(kept)
    return 1 - np.cumsum(right) / given, given / given[-1]


def area_under_risk(kept: Floats, right: Floats) -> float:
    """Returns the mean of the risk over all coverages (arXiv 1805.08206): the lower, the better confidence ranks."""
    risk, _ = risk_and_coverage(kept, right)
    return float(risk @ kept / kept.sum())


def accuracy_at(kept: Floats, right: Floats, coverage: float) -> float:
    """Returns the accuracy of the most confident answers; of those that are equally confident, in proportion."""
    wanted = coverage * kept.sum()
    share = np.clip((wanted - (np.cumsum(kept) - kept)) / kept, 0, 1)
    return float(right @ share / wanted)
