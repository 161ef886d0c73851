"""Simulated annotators: what a crowd says about an expression that is weak or mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ANNOTATORS = 10
"""Votes an image, as in FER+."""

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
"""How often people mistake a full expression for another; in the direction that studies of raters report."""


def perceived(shares: dict[str, float], intensity: float, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Returns the probability [N] that one annotator names each class.

    A weak expression looks neutral to some, a mixture divides the crowd, similar expressions are confused.

    Args:
        shares: Share of each expression in the face, summing to 1.
        intensity: Of the whole, 0 to 1.
        classes: The N classes that annotators may name.
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
    """Returns the class with most votes; a tie that includes the truth goes to the truth."""
    return truth if votes[truth] == votes.max() else int(votes.argmax())


def mislabel(votes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns votes whose majority is a wrong class: the winner changes places with a random other class."""
    wrong: NDArray[np.int64] = votes.copy()
    winner = int(votes.argmax())
    other = int(rng.integers(len(votes) - 1))
    other += other >= winner
    wrong[winner], wrong[other] = votes[other], votes[winner]
    return wrong
