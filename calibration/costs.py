"""What the ranges of some observers cost the answers: whole numbers, so that tables merge exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from calibration.observers import CANDIDATES

UNMEASURED = "mse"
"""Observer, with ``auto``, of tensors whose rounding costs nothing by itself, since they share another's scale."""

COST_GRID = 2.0**-60
"""Unit of costs, which are whole numbers of it, so that they do not depend on the order in which tables are merged."""

HIGHEST = 1e6
"""Highest cost in nats; a gradient may overflow where a probability vanishes."""

Costs = Mapping[str, tuple[int, ...]]
"""By name of the tensor: KL that rounding it to the range of each of ``CANDIDATES`` costs, summed over images, in units
of 2 ** -60 nats."""


def to_costs(found: Mapping[str, Mapping[str, float]]) -> Costs:
    """Returns costs from sums in nats, by tensor and observer; what is not finite counts as ``HIGHEST``."""
    return {name: tuple(to_cost(by_observer[o]) for o in CANDIDATES) for name, by_observer in found.items()}


def to_cost(kl: float) -> int:
    """Returns a sum in nats in units of costs."""
    return round(min(kl if math.isfinite(kl) else HIGHEST, HIGHEST) / COST_GRID)


def read_costs(name: str, row: Any) -> tuple[int, ...]:
    """Returns the costs of a tensor from its row in the file.

    Raises:
        ValueError: If they are damaged.
    """
    costs = tuple(row)
    if len(costs) != len(CANDIDATES) or not all(type(cost) is int and cost >= 0 for cost in costs):
        raise ValueError(f"the costs of {name!r} are damaged")
    return costs


def cheapest(costs: tuple[int, ...] | None) -> str:
    """Returns the name of the candidate that costs least; the first of several."""
    return UNMEASURED if costs is None else min(zip(costs, CANDIDATES, strict=True), key=lambda pair: pair[0])[1]


def add_costs(first: Costs, second: Costs) -> Costs:
    """Returns the sums of two tables' costs."""
    return {
        name: tuple(a + b for a, b in zip(first[name], second[name], strict=True)) for name in first if name in second
    }
