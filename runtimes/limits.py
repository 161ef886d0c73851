"""Limits that a user gives in place of a bundle's own, as ``name=value`` texts. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from arbex.checks import check_name
from arbex.errors import InputError

Limits: TypeAlias = Mapping[str, "float | None"]
"""Limits by name; None lifts a limit, and a name that is missing keeps the bundle's own."""

RANGES: Final = {
    "mean_kl": (0.0, math.inf),
    "top1_agreement": (0.0, 1.0),
    "confidence_rank_correlation": (-1.0, 1.0),
    "confidence_flips": (0.0, 1.0),
    "ece_delta": (-1.0, 1.0),
    "recall_change": (-1.0, 1.0),
}
"""Names of the limits that apply to images, with their ranges."""

LIFTED: Final = "none"

SHORTHANDS: Final = {"mean_kl": "--max-kl", "top1_agreement": "--min-agreement"}
"""Limits that have options of their own."""


def check_limits(limits: Limits) -> Limits:
    """Returns limits that have known names and values in their ranges.

    Raises:
        UnsupportedError: If a name is not known.
        InputError: If a value is out of its range.
    """
    return parse_limits(f"{name}={LIFTED if value is None else value}" for name, value in limits.items())


def parse_limits(texts: Iterable[str]) -> dict[str, float | None]:
    """Reads ``name=value`` texts.

    Raises:
        UnsupportedError: If a name is not known.
        InputError: If there is no value, or it is neither ``none`` nor a number in its range.
    """
    return dict(map(parse_limit, texts))


def parse_limit(text: str) -> tuple[str, float | None]:
    """Reads one ``name=value`` text."""
    name, equals, value = text.partition("=")
    name = name.replace("-", "_")
    if not equals:
        raise InputError(f"The threshold {text!r} has no value.", allowed="Allowed: name=value.")
    check_name("threshold", name, RANGES)
    if value == LIFTED:
        return name, None
    low, high = RANGES[name]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise InputError(f"The threshold {name} is {value!r}.", allowed=f"Allowed: {low:g} to {high:g}, or {LIFTED}.")
    return name, number
