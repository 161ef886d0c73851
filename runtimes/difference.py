"""Where an artifact parts from its program, as reports show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first operator at which an artifact parts from its program.

    Attributes:
        operator: Name of the operator in the program.
        kind: What it computes, such as ``aten.conv2d.default``.
        module: Path of the module that it belongs to; empty if it belongs to none.
        changed: Share of its values that differ, in [0, 1].
        share: Share of the divergence of the answers that comes from it alone, in [0, 1]; None if it cannot be told.
        advice: What to do, as a sentence.
    """

    operator: str
    kind: str
    module: str
    changed: float
    share: float | None
    advice: str

    def __str__(self) -> str:
        """Returns the difference as sentences."""
        place = f"{self.operator} ({self.module})" if self.module else self.operator
        alone = "" if self.share is None else f" Alone, it makes up {self.share:.0%} of the divergence of the answers."
        return (
            f"It parts from its program at {place}: {self.changed:.1%} of the values there differ.{alone} {self.advice}"
        )
