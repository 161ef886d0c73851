"""Label noise (Table 2): labels that are wrong on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from arbex.data.layouts.base import FOLDERS
from arbex.data.samples import FaceSet
from arbex.errors import InputError

LOOK_ALIKE: Final = "look-alike"
KINDS: Final = ("uniform", LOOK_ALIKE)
"""Which classes wrong labels are of: any other, or the one that people take the expression for."""

LOOK_ALIKES: Final = {
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprise",
    "surprise": "fear",
    "sadness": "neutral",
    "neutral": "sadness",
    "happiness": "surprise",
    "contempt": "neutral",
}
"""The expression that each is taken for; this project's choice of what is often confused."""


def with_noise(faces: FaceSet, share: float, seed: int, kind: str = "uniform") -> FaceSet:
    """Returns a set in which a share of the labels is replaced by others, without votes.

    Levels of noise are comparable: all images that are wrong at one share are also wrong at any larger one.

    Args:
        faces: The set.
        share: Share of wrong labels, 0 to 1.
        seed: Seed of the choice.
        kind: ``uniform`` for random other classes, ``look-alike`` for the class in ``LOOK_ALIKES``.

    Raises:
        InputError: If a class has no look-alike among the others.
    """
    rng = np.random.default_rng([seed, len(faces.samples)])
    order = rng.permutation(len(faces.samples))
    steps = rng.integers(1, len(faces.labels), len(faces.samples))
    alike = look_alikes(faces.labels) if kind == LOOK_ALIKE else ()
    samples = list(faces.samples)
    for position in order[: round(share * len(samples))]:
        label = samples[position].label
        wrong = alike[label] if alike else (label + int(steps[position])) % len(faces.labels)
        samples[position] = replace(samples[position], label=wrong, votes=())
    return replace(faces, samples=tuple(samples))


def check_noise(labels: tuple[str, ...], kind: str) -> None:
    """Checks that classes can be mistaken for others.

    Raises:
        InputError: If they cannot.
    """
    if kind == LOOK_ALIKE:
        look_alikes(labels)


def look_alikes(labels: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the position of the class that each class is most often taken for.

    Raises:
        InputError: If a class has none.
    """
    names = [FOLDERS.get(label, label) for label in labels]
    without = [label for label, name in zip(labels, names, strict=True) if LOOK_ALIKES.get(name) not in names]
    if without:
        raise InputError(
            f"label_noise_kind is 'look-alike', and there is no look-alike of {', '.join(without)} among the classes.",
            remedy="Use --set label_noise_kind=uniform.",
        )
    return tuple(names.index(LOOK_ALIKES[name]) for name in names)
