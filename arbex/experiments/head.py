"""The reliability head under the microscope: every reading of the paper beside the present one, and controls."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch

from arbex.checkpoint import load_run
from arbex.experiments.comparison import DIFFERENCES, Difference, cells
from arbex.experiments.plan import Budget, Experiment, Outcome, Report, Results, Setting
from arbex.experiments.plots import curves, rows
from arbex.experiments.statistics import PERCENT, Estimate, estimate, paired
from arbex.experiments.tables import markdown_table, percent
from arbex.methods import load_method
from arbex.models.head import ANCHORS, EMBEDDING, HIDDEN

OURS: Final = "arbex"
LINEAR: Final = "linear classifier"

READINGS: Final = {
    OURS: (),
    "weights with gradient (3.4.3)": ("weights_gradient=true",),
    "trust grows with training": ("trust=ramp",),
    "bounded anchor loss over all pairs": ("anchor_pairs=all",),
    "anchor loss as printed (3.5)": ("anchor_pairs=all", "bounded_anchor_loss=false"),
    "anchors learn ten times as fast": ("anchor_rate=10",),
    "head learns three times as fast": ("head_rate=3", "anchor_rate=3"),
    "head learns a third as fast": ("head_rate=0.3", "anchor_rate=0.3"),
    "anchors start apart": ("anchor_start=spread",),
    "no label smoothing": ("label_smoothing=0",),
    "anchors alone train the encoder": ("encoder_gradient=anchors",),
}
"""Settings of each reading by its name."""

CONTROLS: Final = {
    "equal weights": ("weights=equal",),
    "anchors alone correct": ("correction=anchors",),
    "attention alone corrects": ("correction=attention",),
    "no correction (K = 0 of the paper)": ("correction=none",),
}
"""Settings of each control by its name."""

WIDE: Final = "no correction, as many parameters"
CLASSES: Final = 7
"""Number of classes for which a control has as many parameters."""

WIDTHS: Final = range(1, 10_001)
"""Widths of hidden layers among which it has the smallest one that suffices."""

FLAT: Final = "primary classifier is linear"
DEEP: Final = "primary classifier has hidden layers (3.3)"

FEW: Final = (
    *(OURS, "weights with gradient (3.4.3)", "anchor loss as printed (3.5)", "anchors alone train the encoder"),
    *("equal weights", "anchors alone correct", "attention alone corrects", "no correction (K = 0 of the paper)"),
    *(FLAT, DEEP),
)
"""What is trained with a small budget, beside the linear classifier."""

PARTS_OF_HEAD: Final = {"primary": "primary", "geometric": "anchors", "attentive": "attention"}
"""Names of the parts in plots by those in what is logged."""

TABLE: Final = (
    *("head", "parameters", "accuracy %", f"over {LINEAR}", "McNemar's p", "on validation", "before correction %"),
    *("ECE %", "NLL", "AUROC", "risk over coverage %"),
)
PARTS: Final = (
    *("head", "repaired %", "spoiled %", "agreement %", "as with equal weights %"),
    *("accuracy of primary, anchors, attention %", "their weights"),
    *("anchors in use", "anchors moved, of distance of classes"),
)
NOTE: Final = (
    f"Figures are means over seeds with their 95 % intervals. {DIFFERENCES} *On validation* compares the best epochs, "
    "with an interval over seeds; settings should be chosen by it. All models are calibrated. *Parameters* are those "
    "of the head.\n\n"
    "The second table has figures of the best epoch on validation, before calibration. *Repaired* and *spoiled* are "
    "shares of the images that only the corrected distribution recognizes, or only the primary one; *agreement* is "
    "that of all parts; *anchors in use* is the effective number per class; the last column says how far anchors have "
    "moved from where they started, and how far the centers of two classes are apart."
)


class Head(Experiment):
    """Readings and controls of the head on one encoder."""

    name = "head"

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each reading and control, and the linear classifier."""
        each = {**READINGS, **opposites(budget), **CONTROLS, **widened(budget)}
        names = each if budget.grid else [name for name in each if name in FEW]
        return [Setting(LINEAR, method="poster"), *(Setting(name, assignments=each[name]) for name in names)]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns two tables, what the heads answer and what their parts do, and plots of both."""
        names = [setting.name for setting in self.settings(budget)]
        figures = {name: measured(results, name) for name in names}
        parts = {name: best_parts(results.of(name)) for name in names}
        first = markdown_table(TABLE, [figures[name].row(name) for name in names])
        second = markdown_table(PARTS, [parts_row(name, parts[name]) for name in names if parts[name]])
        gains = {name: figures[name].gain for name in names if name != LINEAR}
        plots = [rows(out / "head.png", gains, "accuracy", over=f"a {LINEAR}")]
        if parts[OURS]:
            plots.append(curves(out / "head-epochs.png", over_epochs(results.of(OURS))))
        return Report(
            title="The head under the microscope",
            body=f"{first}\n\n{second}\n\n{NOTE}",
            figures={name: {**figures[name].to_json(), "parts": parts[name]} for name in names},
            plots=tuple(plots),
        )


def opposites(budget: Budget) -> dict[str, tuple[str, ...]]:
    """Returns settings by name that are the opposite of those of the other runs."""
    hidden = budget.options_of(OURS).to_json()["hidden"]
    parts = budget.settings_of(OURS).lambda_parts
    losses = "losses of the mixture alone" if parts else "losses of the parts, too"
    return {
        losses: (f"lambda_parts={0 if parts else 0.5}",),
        FLAT if hidden else DEEP: (f"hidden={0 if hidden else HIDDEN}",),
    }


def widened(budget: Budget) -> dict[str, tuple[str, ...]]:
    """Returns the control whose primary classifier has as many parameters as the whole head, by its name."""
    options = budget.options_of(OURS)

    def parameters(**changes: Any) -> int:
        with torch.device("meta"):
            method = load_method(OURS, replace(options, **changes))
            head = method.build_head(EMBEDDING, CLASSES, anchors=ANCHORS)
        return sum(parameter.numel() for parameter in head.parameters())

    place = bisect_left(WIDTHS, parameters(), key=lambda hidden: parameters(correction="none", hidden=hidden))
    return {WIDE: ("correction=none", f"hidden={WIDTHS[min(place, len(WIDTHS) - 1)]}")}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of a setting.

    Attributes:
        parameters: Number of parameters of the head.
        accuracy: Accuracy on the test split; so are the following.
        primary: Accuracy before correction.
        ece: Expected calibration error.
        nll: Negative log-likelihood.
        auroc: Area under the curve of confidence as a test of being right.
        aurc: Area under the curve of risk over coverage.
        gain: Difference in accuracy from the linear classifier.
        on_validation: The same difference in the best epochs on validation.
    """

    parameters: int
    accuracy: Estimate
    primary: Estimate
    ece: Estimate
    nll: Estimate
    auroc: Estimate
    aurc: Estimate
    gain: Difference
    on_validation: Estimate

    def row(self, name: str) -> list[str]:
        """Returns a row of the first table."""
        gain = (*cells(self.gain), percent(self.on_validation, sign=True))
        return [
            *(name, f"{self.parameters:,}", percent(self.accuracy)),
            *(("", "", "") if name == LINEAR else gain),
            *(percent(self.primary), percent(self.ece)),
            *(self.nll.text(digits=3), self.auroc.text(digits=3), percent(self.aurc)),
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a dictionary."""
        return {name: value if isinstance(value, int) else value.to_json() for name, value in vars(self).items()}


def measured(results: Results, name: str) -> Measured:
    """Returns the figures of a setting."""
    scores = {each: estimate(results.values(name, each)) for each in ("accuracy", "ece", "nll", "auroc", "aurc")}
    best, linear = ([max(outcome.curve) for outcome in results.of(each)] for each in (name, LINEAR))
    head = load_run(results.of(name)[0].run).head
    return Measured(
        **scores,
        parameters=sum(parameter.numel() for parameter in head.parameters()),
        primary=estimate(results.values(name, "accuracy", primary=True)),
        gain=results.difference(name, LINEAR),
        on_validation=paired(best, linear),
    )


def best_parts(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Returns means over runs of what their heads logged in their best epochs; empty without corrections."""
    logged = [outcome.head[outcome.best_epoch - 1] for outcome in outcomes]
    return {name: fmean(each[name] for each in logged) for name in logged[0]} if all(logged) else {}


def parts_row(name: str, found: Mapping[str, float]) -> list[str]:
    """Returns a row of the second table."""
    shares = [f"{PERCENT * found[each]:.2f}" for each in ("repaired", "spoiled", "agreement", "like_equal_weights")]
    accuracies = [found.get(f"accuracy_{part}", math.nan) * PERCENT for part in PARTS_OF_HEAD]
    weights = [found.get(f"weight_{part}", math.nan) for part in PARTS_OF_HEAD]
    moved = ""
    if "anchor_displacement" in found:
        moved = f"{found['anchor_displacement']:.2f} of {found['class_distance']:.2f}"
    used = f"{found['effective_anchors']:.1f}" if "effective_anchors" in found else ""
    return [name, *shares, of_parts(accuracies, digits=1), of_parts(weights, digits=2), used, moved]


def of_parts(values: Sequence[float], *, digits: int) -> str:
    """Returns a figure of each part; those of a part that is missing are not numbers."""
    return ", ".join("-" if math.isnan(value) else f"{value:.{digits}f}" for value in values)


def over_epochs(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Estimate]]]:
    """Returns what heads log, by plot and curve: estimates over seeds for each epoch."""
    epochs = min(len(outcome.head) for outcome in outcomes)
    logged = outcomes[0].head[0]

    def curve(name: str, over: str = "") -> list[Estimate]:
        each = [[outcome.head[i] for outcome in outcomes] for i in range(epochs)]
        return [estimate([one[name] / (one[over] if over else 1.0) for one in epoch]) for epoch in each]

    parts = {part: shown for part, shown in PARTS_OF_HEAD.items() if f"weight_{part}" in logged}
    found = {
        "accuracy of the parts": {shown: curve(f"accuracy_{part}") for part, shown in parts.items()},
        "weight in the mixture": {shown: curve(f"weight_{part}") for part, shown in parts.items()},
        "share of images": {name: curve(name) for name in ("repaired", "spoiled")},
    }
    if "anchor_displacement" in logged:
        found["anchors"] = {"moved, of the distance of classes": curve("anchor_displacement", "class_distance")}
    return found
