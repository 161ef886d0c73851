"""Wrong labels on purpose (Table 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from arbex.data.samples import FaceSet


def with_noise(faces: FaceSet, share: float, seed: int) -> FaceSet:
    """Returns a set in which a share of the labels is wrong: another class at random, and no votes.

    The images of a smaller share are among those of a larger one, so that levels of noise compare.

    Args:
        faces: The set.
        share: How many, 0 to 1.
        seed: Of the choice.
    """
    rng = np.random.default_rng([seed, len(faces.samples)])
    order = rng.permutation(len(faces.samples))
    steps = rng.integers(1, len(faces.labels), len(faces.samples))
    samples = list(faces.samples)
    for position in order[: round(share * len(samples))]:
        wrong = (samples[position].label + int(steps[position])) % len(faces.labels)
        samples[position] = replace(samples[position], label=wrong, votes=())
    return replace(faces, samples=tuple(samples))
