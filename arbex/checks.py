"""Checks of what a user gives: names, words of a choice, numbers in a range. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable

from arbex.errors import InputError, UnsupportedError


def check_name(kind: str, name: str, known: Iterable[str], *, of: str = "") -> None:
    """Refuses a name that is not known.

    Args:
        kind: What is named, such as ``method``.
        name: The given name.
        known: All known names.
        of: What the names belong to, such as ``the method 'nla'``, where ``kind`` alone is ambiguous.

    Raises:
        UnsupportedError: If ``name`` is not one of ``known``.
    """
    names = list(known)
    if name not in names:
        where = f" of {of}" if of else ""
        allowed = f"Allowed: {', '.join(names) or 'none'}."
        raise UnsupportedError(f"The {kind} {name!r}{where} is not known.", allowed=allowed)


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Refuses a value that is not one of the allowed words.

    Args:
        name: Name of the value, for the error.
        value: The given value.
        allowed: The allowed words.

    Raises:
        UnsupportedError: If ``value`` is not one of ``allowed``.
    """
    words = list(allowed)
    if value not in words:
        raise UnsupportedError(f"{name} is {value!r}.", allowed=f"Allowed: {', '.join(words)}.")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Refuses a number outside of its range; NaN is outside of every range.

    Args:
        name: Name of the number, for the error.
        value: The given number.
        low: Smallest allowed value.
        high: Largest allowed value; by default there is none.

    Raises:
        InputError: If ``value`` is not in the range.
    """
    if not low <= value <= high:
        limits = f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} or more"
        raise InputError(f"{name} is {value}.", allowed=f"Allowed: {limits}.")
