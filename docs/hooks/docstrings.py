"""Reads docstrings as the plain text that they are, where Markdown would take parts of them for something else."""

from __future__ import annotations

import re
from typing import Any

import griffe

CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
ROLE = re.compile(r":\w+:`~?([\w.]+)`")
NEIGHBORS = re.compile(r"\](\s?)\[")
"""``in [0, 1] [B]``: an interval and a shape, not a link."""


class PlainDocstrings(griffe.Extension):
    """Turns Sphinx roles into links of the site, and keeps brackets that are no links."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """Returns a docstring as Markdown."""
    parts = CODE.split(ROLE.sub(cross_reference, text))
    return "".join(part if i % 2 else NEIGHBORS.sub(r"]\1\\[", part) for i, part in enumerate(parts))


def cross_reference(role: re.Match[str]) -> str:
    """Returns the code that a role names, without the modules in front of it."""
    return f"`{role[1].rpartition('.')[2]}`"
