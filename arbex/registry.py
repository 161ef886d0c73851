"""Tables that name what is imported only when it is asked for. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from arbex.checks import check_name


def load(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """Imports and returns what a table holds under a name.

    Args:
        kind: What the table holds, such as ``method``.
        name: The wanted name.
        table: ``module:attribute`` by name.

    Raises:
        UnsupportedError: If the table has no such name.
    """
    check_name(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)
