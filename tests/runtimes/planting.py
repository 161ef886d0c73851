"""Modules planted in a folder, which leave a mark when they are imported."""

from __future__ import annotations

from pathlib import Path

MARK = "*.ran"


def plant(folder: Path, *names: str) -> None:
    """Writes modules with the given names; each creates ``NAME.py.ran`` next to itself when it is executed."""
    for name in names:
        (folder / f"{name}.py").write_text("open(__file__ + '.ran', 'w').close()\n")


def executed(folder: Path) -> list[str]:
    """Returns the names of the planted modules below a folder that were executed."""
    return sorted(mark.name.partition(".")[0] for mark in folder.rglob(MARK))
