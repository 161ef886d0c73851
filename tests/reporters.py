"""A reporter that keeps what it is told."""

from __future__ import annotations

from arbex.progress import Reporter


class Lines(Reporter):
    """Records the messages it receives."""

    def __init__(self) -> None:
        """Starts without any."""
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Records a message."""
        self.lines.append(text)
