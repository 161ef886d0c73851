"""Simulated annotators, who disagree about weak and mixed expressions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ANNOTATORS = 10
"""Number of votes per image, as in FER+."""

CONFUSIONS = {
    "neutral": {"sadness": 0.04, "anger": 0.02},
    "anger": {"disgust": 0.06, "neutral": 0.02, "sadness": 0.02},
    "disgust": {"anger": 0.07, "sadness": 0.02},
    "fear": {"surprise": 0.08, "sadness": 0.02},
    "happiness": {"surprise": 0.01, "neutral": 0.01},
    "sadness": {"neutral": 0.04, "disgust": 0.02, "fear": 0.02},
    "surprise": {"fear": 0.07},
    "contempt": {"happiness": 0.06, "neutral": 0.05},
    "other": {"neutral": 0.04, "contempt": 0.03, "disgust": 0.03},
}
"""Share of people who mistake a full expression for another, in the directions that studies of raters report."""


def perceived(shares: dict[str, float], intensity: float, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Returns the probability [N] that one annotator names each class.

    Some annotators take a weak expression for neutral, disagree about a mixture, or confuse similar expressions.

    Args:
        shares: Share of each expression in the face; the shares sum to 1.
        intensity: Overall intensity, 0 to 1.
        classes: Names of the N classes.
    """
    p = np.zeros(len(classes))
    unseen = float(np.clip((0.55 - intensity) / 0.55, 0, 1)) ** 1.5
    for expression, share in shares.items():
        seen = share**1.6 * (1.0 if expression == "neutral" else 1 - unseen)
        rest = seen
        for other, rate in CONFUSIONS[expression].items():
            if other in classes:
                p[classes.index(other)] += seen * rate
                rest -= seen * rate
        p[classes.index(expression)] += rest
        if expression != "neutral":
            p[classes.index("neutral")] += share**1.6 * unseen
    out: NDArray[np.float64] = p / p.sum()
    return out


def vote(p: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns the votes [N] of ``ANNOTATORS`` independent annotators."""
    votes: NDArray[np.int64] = rng.multinomial(ANNOTATORS, p)
    return votes


def majority(votes: NDArray[np.int64], truth: int) -> int:
    """Returns the class with the most votes; of several, the true one if it is among them."""
    return truth if votes[truth] == votes.max() else int(votes.argmax())


def mislabel(votes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns votes with a wrong majority: the votes of the winner and of a random other class are swapped."""
    wrong: NDArray[np.int64] = votes.copy()
    winner = int(votes.argmax())
    other = int(rng.integers(len(votes) - 1))
    other += other >= winner
    wrong[winner], wrong[other] = votes[other], votes[winner]
    return wrong
