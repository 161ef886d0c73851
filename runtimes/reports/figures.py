"""Figures of a comparison as text, for tables."""

from __future__ import annotations

from runtimes.emulation.processors import NATIVE
from runtimes.intervals import Interval
from runtimes.outcomes import ArtifactReport, Change
from runtimes.parity import Parity

MISSING = "-"


def small(value: float | None) -> str:
    """Returns an error or a divergence as text."""
    return MISSING if value is None else f"{value:.1e}"


def share(value: float | None) -> str:
    """Returns a share as text."""
    return MISSING if value is None else f"{value:.2%}"


def change(value: float | None) -> str:
    """Returns a change of a share as text."""
    return MISSING if value is None else f"{value:+.2%}"


def correlation(value: float | None) -> str:
    """Returns a correlation as text."""
    return MISSING if value is None else f"{value:.4f}"


FORMS = {
    "max_abs_error": ("largest error", small),
    "primary_max_abs_error": ("largest error of primary", small),
    "confidence_max_abs_error": ("largest error of confidence", small),
    "mean_kl": ("mean KL", small),
    "p99_kl": ("99th percentile of KL", small),
    "max_kl": ("largest KL", small),
    "jensen_shannon": ("mean Jensen-Shannon divergence", small),
    "top1_agreement": ("agreement", share),
    "confidence_rank_correlation": ("rank correlation of confidence", correlation),
    "confidence_flips": ("flips of confidence", share),
    "ece_delta": ("change of ECE", change),
}
"""Names of the figures in tables and how to write them, by attribute of ``Parity``."""


def interval_of(parity: Parity, name: str) -> Interval | None:
    """Returns the interval of a figure, if it has one."""
    found: Interval | None = getattr(parity, f"{name}_ci95", None)
    return found


def rows(parity: Parity) -> list[tuple[str, str, str]]:
    """Returns name, value and interval of every figure that was measured."""
    out = []
    for name, (title, form) in FORMS.items():
        value, interval = getattr(parity, name), interval_of(parity, name)
        if value is not None:
            out.append((title, form(value), f"{form(interval[0])} to {form(interval[1])}" if interval else ""))
    return out


def summary(artifact: ArtifactReport) -> list[str]:
    """Returns images, largest error, mean KL and agreement of an artifact, or ``-`` for each that did not run."""
    parity = artifact.parity
    if parity is None:
        return [MISSING] * 4
    return [f"{parity.samples:,}", small(parity.max_abs_error), small(parity.mean_kl), share(parity.top1_agreement)]


SUMMARY = ("images", "largest error", "mean KL", "agreement")
"""Titles of what ``summary`` returns."""


CHANGES = ("bundle", "artifact", "outcome", "mean KL", "agreement")
"""Titles of what ``change_row`` returns."""


def change_row(change: Change) -> list[str]:
    """Returns what an artifact was and what it is."""
    before, after = change.before, change.after

    def pair(then: str, now: str) -> str:
        return now if then == now else f"{then} → {now}"

    return [
        change.bundle,
        change.artifact if change.cpu == NATIVE else f"{change.artifact} on {change.cpu}",
        pair(before.outcome if before else "absent", after.outcome if after else "absent"),
        pair(small(before.mean_kl if before else None), small(after.mean_kl if after else None)),
        pair(share(before.top1_agreement if before else None), share(after.top1_agreement if after else None)),
    ]
