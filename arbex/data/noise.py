"""Label noise (Table 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from arbex.data.samples import FaceSet


def with_noise(faces: FaceSet, share: float, seed: int) -> FaceSet:
    """Returns a set in which a share of the labels is replaced by random other classes, without votes.

    Levels of noise are comparable: all images that are wrong at one share are also wrong at any larger one.

    Args:
        faces: The set.
        share: Share of wrong labels, 0 to 1.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng([seed, len(faces.samples)])
    order = rng.permutation(len(faces.samples))
    steps = rng.integers(1, len(faces.labels), len(faces.samples))
    samples = list(faces.samples)
    for position in order[: round(share * len(samples))]:
        wrong = (samples[position].label + int(steps[position])) % len(faces.labels)
        samples[position] = replace(samples[position], label=wrong, votes=())
    return replace(faces, samples=tuple(samples))
