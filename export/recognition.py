"""Recognizing the values of a program among those that an artifact computed, whatever their names and layout are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]

TOLERANCE: Final = 1e-3
"""Difference that adding floats in another order may make, in standard deviations of a tensor."""


def differing(expected: Array, found: Array) -> float:
    """Returns the share of values that differ, of arrays of the same shape."""
    return float(np.mean(np.abs(expected - found) > TOLERANCE * (float(expected.std()) + 1e-6)))


def mean_error(expected: Array, found: Array) -> float:
    """Returns the mean absolute difference of arrays of the same shape."""
    return float(np.abs(expected - found).mean(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A value of an artifact.

    Attributes:
        value: The value, as the artifact lays it out.
        ordered: The same numbers in ascending order.
    """

    value: Array = field(repr=False)
    ordered: Array = field(repr=False)

    def like(self, expected: Array) -> Array:
        """Returns the value in the layout of the expected one, of all layouts with its shape the closest."""
        shape = expected.squeeze().shape
        squeezed = self.value.squeeze()
        layouts = [self.value.reshape(expected.shape)]
        for order in permutations(range(squeezed.ndim)):
            turned = squeezed.transpose(order)
            if turned.shape == shape:
                layouts.append(turned.reshape(expected.shape))
        return min(layouts, key=lambda layout: mean_error(expected, layout))


@dataclass
class Values:
    """The values of an artifact for one image.

    Attributes:
        by_size: Values by the number of their elements.
    """

    by_size: dict[int, list[Candidate]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, values: Mapping[str, Array]) -> Values:
        """Arranges the values that a runtime returned; what is not finite is like nothing else."""
        made = cls()
        for value in values.values():
            if not np.isfinite(value).all():
                continue
            made.by_size[value.size].append(Candidate(value, np.sort(value, axis=None)))
        return made

    def closest(self, expected: Array, others: Collection[Candidate] = ()) -> Candidate | None:
        """Returns the value closest to an expected one, in any order; None if none has its size.

        Args:
            expected: The expected one.
            others: Values that it is known not to be.
        """
        ordered = np.sort(expected, axis=None)

        def distance(candidate: Candidate) -> tuple[float, float]:
            error = mean_error(ordered, candidate.ordered)
            return differing(ordered, candidate.ordered), error

        found = (candidate for candidate in self.by_size.get(expected.size, ()) if candidate not in others)
        return min(found, key=distance, default=None)
