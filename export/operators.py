"""The convolutions and linear layers of a file, as its format's writer reads them back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Operator:
    """A convolution or linear layer as a file holds it.

    Attributes:
        weight: Sorted dimensions of its weight without ones.
        int8: Whether its kernel reads integers.
    """

    weight: Shape
    int8: bool


def weight_key(shape: Iterable[int]) -> Shape:
    """Returns what the shape of a weight has in common in all layouts."""
    return tuple(sorted(int(n) for n in shape if n != 1))
