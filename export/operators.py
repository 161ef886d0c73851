"""The convolutions and linear layers of a file, as the writer of its format reads them back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """A convolution or linear layer as a file holds it.

    Attributes:
        weight: Dimensions of its weight, sorted and without ones.
        int8: Whether its kernel reads integers.
    """

    weight: Shape
    int8: bool


def weight_key(shape: Iterable[int]) -> Shape:
    """Returns the dimensions of a weight in a form that is the same for all layouts."""
    return tuple(sorted(int(n) for n in shape if n != 1))
