"""Deciding whether limits hold: on chosen images by what was measured, on samples by its interval.

A sample tells what holds for all images that it was drawn from only up to an interval. A limit holds if the whole
interval does, is violated if no part of it does, and is undecided otherwise: more images would tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from runtimes.intervals import Interval, wilson_interval
from runtimes.manifest import Thresholds
from runtimes.parity import GroupParity, Parity

MOST: Final = 10**9
"""Number of images beyond which a limit counts as undecidable."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured, and its limit.

    Attributes:
        name: What it is, as messages call it.
        form: Format of its value.
        value: Its value.
        interval: Its 95 % interval.
        limit: The limit.
        at_most: Whether the limit is the largest allowed value; otherwise it is the smallest.
        samples: Number of images.
        is_share: Whether the value is a share of them.
    """

    name: str
    form: str
    value: float
    interval: Interval
    limit: float
    at_most: bool
    samples: int
    is_share: bool

    @property
    def violation(self) -> str:
        """What it is to lie on the wrong side of the limit."""
        return "exceeds" if self.at_most else "is below"

    def side(self, value: float) -> bool:
        """Tells whether a value is on the right side of the limit."""
        return value <= self.limit if self.at_most else value >= self.limit

    def show(self, value: float) -> str:
        """Returns a value as text."""
        return format(value, self.form)

    def interval_of(self, factor: float) -> Interval:
        """Returns the interval that so many times the images would have if they were like these."""
        if self.is_share:
            return wilson_interval(self.value * self.samples * factor, self.samples * factor)
        low, high = self.interval
        return self.value - (self.value - low) / math.sqrt(factor), self.value + (high - self.value) / math.sqrt(factor)

    def show_limit(self) -> str:
        """Returns the limit as text, without digits that it does not have."""
        short = format(self.limit, self.form.replace(".2e", ".0e"))
        return short if float(short.rstrip("%")) in (self.limit, 100 * self.limit) else self.show(self.limit)

    def advice(self) -> str:
        """Returns what would decide, as a clause."""
        count = self.needed()
        return f"needs about {count:,} images" if count else "no number of images can decide it"

    def needed(self) -> int | None:
        """Returns about how many images would decide; None if no number does."""
        factor = 1.0
        while self.samples * factor < MOST:
            factor *= 1.05
            low, high = map(self.side, self.interval_of(factor))
            if low == high:
                return rounded_up(self.samples * factor)
        return None


def rounded_up(value: float) -> int:
    """Returns the next number of two significant digits."""
    digit: int = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return math.ceil(value / digit) * digit


@dataclass(frozen=True)
class Decision:
    """Whether limits hold.

    Attributes:
        violated: What is violated, as clauses.
        undecided: What more images would tell, as clauses.
    """

    violated: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()

    def __add__(self, other: Decision) -> Decision:
        """Returns the decision on the limits of both."""
        return Decision(self.violated + other.violated, self.undecided + other.undecided)


@dataclass(frozen=True, kw_only=True)
class Limited:
    """A figure that may have a limit; figure, interval and limit have the same name.

    Attributes:
        attribute: Its name in ``Parity`` and in ``Thresholds``; its interval ends in ``_ci95``.
        name: What it is, as messages call it.
        form: Format of its value.
        at_most: Whether the limit is the largest allowed value.
        is_share: Whether it is a share of the images.
    """

    attribute: str
    name: str
    form: str
    at_most: bool = True
    is_share: bool = False

    def figure(
        self, found: Parity | GroupParity, limit: float | None, *, of: str = "", key: str | None = None
    ) -> Figure | None:
        """Returns what was measured, if it was measured and has a limit.

        Args:
            found: The comparison.
            limit: The limit.
            of: What it was measured on, if not on all images.
            key: Class, where there is a value per class.
        """
        value, interval = getattr(found, self.attribute), getattr(found, f"{self.attribute}_ci95")
        if value is None or limit is None:
            return None
        return Figure(
            name=f"{self.name} of {of}" if of else self.name,
            form=self.form,
            value=value if key is None else value[key],
            interval=interval if key is None else interval[key],
            limit=limit,
            at_most=self.at_most,
            samples=found.samples,
            is_share=self.is_share,
        )


AGREEMENT: Final = Limited(attribute="top1_agreement", name="agreement", form=".2%", at_most=False, is_share=True)
RECALL: Final = Limited(attribute="recall_change", name="change of recall", form="+.2%", at_most=False)
OF_ALL_IMAGES: Final = (
    Limited(attribute="mean_kl", name="mean KL", form=".2e"),
    AGREEMENT,
    Limited(attribute="confidence_rank_correlation", name="rank correlation of confidence", form=".4f", at_most=False),
    Limited(attribute="confidence_flips", name="share of flips of confidence", form=".2%", is_share=True),
    Limited(attribute="ece_delta", name="change of ECE", form="+.4f"),
)


def figures(parity: Parity, thresholds: Thresholds) -> list[Figure]:
    """Returns what was measured and has a limit, except the largest error; of classes and of groups, the worst."""
    found = [kind.figure(parity, getattr(thresholds, kind.attribute)) for kind in OF_ALL_IMAGES]
    by_class = [
        RECALL.figure(parity, thresholds.recall_change, of=name, key=name) for name in parity.recall_change or ()
    ]
    by_group = [AGREEMENT.figure(group, thresholds.top1_agreement, of=name) for name, group in parity.groups.items()]
    recall_by_group = [RECALL.figure(group, thresholds.recall_change, of=name) for name, group in parity.groups.items()]
    for several in (by_class, by_group, recall_by_group):
        found += sorted(filter(None, several), key=lambda figure: figure.interval[0])[:1]
    return [figure for figure in found if figure]


def broken(parity: Parity, thresholds: Thresholds) -> tuple[str, ...]:
    """Returns whether the largest error exceeds its limit, as a clause; it needs no interval."""
    limit = thresholds.max_abs_error
    if limit is None or parity.max_abs_error <= limit:
        return ()
    return (f"max error {parity.max_abs_error:.2e} exceeds {limit:.0e}",)


def decide_exactly(parity: Parity, thresholds: Thresholds) -> Decision:
    """Decides by what was measured, for images that were chosen and are no sample of anything."""
    clauses = [
        f"{figure.name} {figure.show(figure.value)} {figure.violation} {figure.show_limit()}"
        for figure in figures(parity, thresholds)
        if not figure.side(figure.value)
    ]
    return Decision(broken(parity, thresholds) + tuple(clauses))


def decide(parity: Parity, thresholds: Thresholds) -> Decision:
    """Decides by the 95 % intervals, for images that were drawn from all for which the limits are to hold."""
    violated, undecided = list(broken(parity, thresholds)), []
    for figure in figures(parity, thresholds):
        low, high = map(figure.side, figure.interval)
        low_end, high_end = map(figure.show, figure.interval)
        said = f"{figure.name} {figure.show(figure.value)} (95 %: {low_end} to {high_end})"
        if not (low or high):
            violated.append(f"{said} {figure.violation} {figure.show_limit()}")
        elif low != high:
            undecided.append(f"{said} does not decide about {figure.show_limit()}: {figure.advice()}")
    return Decision(tuple(violated), tuple(undecided))
