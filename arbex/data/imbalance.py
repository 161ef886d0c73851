"""Class imbalance on purpose: some classes keep only a part of their images."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from arbex.data.samples import FaceSet


def class_sizes(counts: list[int], factor: float) -> list[int]:
    """Returns how many images each class keeps.

    In the order of their sizes, classes shrink by equal ratios, down to the largest one's divided by the factor; none
    grows, and none is left without an image.

    Args:
        counts: Number of images of each class.
        factor: Ratio of the largest class to the smallest one, at least 1.
    """
    order = sorted(range(len(counts)), key=lambda label: -counts[label])
    largest, steps = counts[order[0]], max(1, len(counts) - 1)
    sizes = [0] * len(counts)
    for rank, label in enumerate(order):
        wanted = round(largest * factor ** (-rank / steps))
        sizes[label] = max(1, min(counts[label], wanted))
    return sizes


def with_imbalance(faces: FaceSet, factor: float, seed: int) -> FaceSet:
    """Returns a set in which classes have unequal numbers of images, chosen at random.

    Args:
        faces: The set.
        factor: Ratio of the largest class to the smallest one, at least 1.
        seed: Seed of the choice.
    """
    there = Counter(sample.label for sample in faces.samples)
    sizes = class_sizes([there[label] for label in range(len(faces.labels))], factor)
    left = dict(enumerate(sizes))
    kept = set()
    for position in np.random.default_rng([seed, len(faces.samples)]).permutation(len(faces.samples)).tolist():
        label = faces.samples[position].label
        if left[label]:
            left[label] -= 1
            kept.add(position)
    return replace(faces, samples=tuple(sample for i, sample in enumerate(faces.samples) if i in kept))
