"""Progress of long work, from the code that does it to whatever shows it. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Step: TypeAlias = Callable[[int], None]
"""Called with the number of steps done so far."""


def uncounted(done: int) -> None:
    """A step that nobody counts."""


class Reporter:
    """Receives messages and progress. This class discards them; the one of the command line shows them."""

    def line(self, text: str) -> None:
        """Receives a message of one line."""

    @contextmanager
    def doing(self, label: str) -> Iterator[None]:
        """Receives what is being done meanwhile, for work whose steps cannot be counted."""
        yield

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        """Yields a function that receives how many of ``total`` steps are done."""
        yield uncounted


SILENT = Reporter()
