"""Tables of objects that are imported only when they are needed. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from arbex.checks import check_name


def load(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """Imports and returns an object that a table names.

    Args:
        kind: What the table holds, such as ``method``.
        name: Name of the object.
        table: ``module:attribute`` of each object by its name.

    Raises:
        UnsupportedError: If the table has no such name.
    """
    check_name(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
