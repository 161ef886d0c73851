"""Progress of long work. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Step: TypeAlias = Callable[[int], None]
"""Takes the number of finished steps."""


class Reporter:
    """Takes messages and progress. This one drops them; the command line has one that shows them."""

    def line(self, text: str) -> None:
        """Takes one line of text for the user."""

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        """Yields a function that takes the number of finished steps out of ``total``."""
        yield lambda done: None


SILENT = Reporter()
