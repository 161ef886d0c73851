"""Modules that lie in wait in a folder, and leave a mark when anything imports them."""

from __future__ import annotations

from pathlib import Path

MARK = "*.ran"


def plant(folder: Path, *names: str) -> None:
    """Writes modules of those names; each leaves ``NAME.py.ran`` beside itself when it is executed."""
    for name in names:
        (folder / f"{name}.py").write_text("open(__file__ + '.ran', 'w').close()\n")


def executed(folder: Path) -> list[str]:
    """Returns the names of the planted modules below a folder that were executed."""
    return sorted(mark.name.partition(".")[0] for mark in folder.rglob(MARK))
