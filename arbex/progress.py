"""How long work reports where it is. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Step: TypeAlias = Callable[[int], None]
"""Called with how much is done so far."""


class Reporter:
    """Takes messages and progress; this one drops them, the command line shows them."""

    def line(self, text: str) -> None:
        """Takes one line for people."""

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        """Yields a function that takes how many of ``total`` steps are done."""
        yield lambda done: None


SILENT = Reporter()
