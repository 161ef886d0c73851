"""Defects by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Kind = TypeVar("Kind", bound=Callable[..., object])


class Registry(dict[str, Kind]):
    """Functions that make defects, by what they are called for people."""

    def register(self, function: Kind) -> Kind:
        """Registers a function under its own name, with spaces."""
        self[function.__name__.replace("_", " ")] = function
        return function
