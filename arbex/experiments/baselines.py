"""Experiments of the other methods: the choices of TCL, and what NLA does with noise and imbalance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from arbex.experiments.comparison import DIFFERENCES, Difference, cells
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import rows
from arbex.experiments.statistics import PERCENT, Estimate, estimate
from arbex.experiments.tables import markdown_table, percent
from arbex.methods.tcl import NEGATIVES

BASELINE: Final = "cross-entropy"
COLUMNS: Final = ("accuracy %", "balanced %", f"over {BASELINE}", "McNemar's p")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of a setting on the test images.

    Attributes:
        accuracy: Accuracy.
        balanced: Balanced accuracy.
        gain: Difference in accuracy from cross-entropy alone; None for that itself.
    """

    accuracy: Estimate
    balanced: Estimate
    gain: Difference | None

    def row(self, *names: str) -> list[str]:
        """Returns the row of the table that begins with these names."""
        return [*names, percent(self.accuracy), percent(self.balanced), *cells(self.gain)]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a dictionary."""
        return {name: value.to_json() for name, value in vars(self).items() if value is not None}


def measured(results: Results, name: str, baseline: str) -> Measured:
    """Returns the figures of a setting, whose baseline may be itself."""
    accuracy, balanced = (estimate(results.values(name, each)) for each in ("accuracy", "balanced_accuracy"))
    gain = None if name == baseline else results.difference(name, baseline)
    return Measured(accuracy=accuracy, balanced=balanced, gain=gain)


def gains_of(figures: Mapping[str, Measured]) -> dict[str, Difference]:
    """Returns the gain of each setting but the baselines."""
    return {name: found.gain for name, found in figures.items() if found.gain is not None}


class TripletCenters(Experiment):
    """TCL: every choice of negatives, with and without attention, beside cross-entropy alone."""

    name = "tcl"

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each choice."""
        return [
            Setting(BASELINE, method="poster"),
            *(
                Setting(
                    f"{negatives}, {'with' if attention else 'without'} attention",
                    method="tcl",
                    assignments=(f"negatives={negatives}", f"attention={str(attention).lower()}"),
                )
                for negatives in NEGATIVES
                for attention in (False, True)
            ),
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns one row per choice."""
        names = [setting.name for setting in self.settings(budget)]
        figures = {name: measured(results, name, BASELINE) for name in names}
        table = markdown_table(("negatives", *COLUMNS), [found.row(name) for name, found in figures.items()])
        plot = rows(out / "tcl.png", gains_of(figures), "accuracy", over=BASELINE)
        return Report(
            title="Triplet-center loss: negatives and attention",
            body=f"{table}\n\n{DIFFERENCES}",
            figures={name: found.to_json() for name, found in figures.items()},
            plots=(plot,),
        )


class LabelAmbiguity(Experiment):
    """NLA in both public forms beside cross-entropy: with wrong labels, and with unequal classes."""

    name = "nla"
    methods: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        BASELINE: ("poster", ()),
        "nla, paper": ("nla", ("form=paper",)),
        "nla, code": ("nla", ("form=code",)),
    }

    def conditions(self, budget: Budget) -> dict[str, tuple[str, ...]]:
        """Returns settings of the training by the name of the condition."""
        noises, factors = ((10, 20, 30), (5, 10, 20, 50)) if budget.grid else ((20,), (20,))
        return {
            "as it is": (),
            **{f"{noise} % wrong labels": (f"label_noise={noise / PERCENT:g}",) for noise in noises},
            **{f"imbalance {factor}": (f"imbalance={factor}", "sampling=natural") for factor in factors},
        }

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each form and condition."""
        return [
            Setting(f"{name}, {condition}", method=method, assignments=(*options, *own))
            for condition, own in self.conditions(budget).items()
            for name, (method, options) in self.methods.items()
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns one row per condition and form."""
        lines, figures = [], dict[str, Measured]()
        for condition in self.conditions(budget):
            for name in self.methods:
                setting, baseline = f"{name}, {condition}", f"{BASELINE}, {condition}"
                figures[setting] = measured(results, setting, baseline)
                lines.append(figures[setting].row(condition, name))
        table = markdown_table(("training labels", "loss", *COLUMNS), lines)
        plot = rows(out / "nla.png", gains_of(figures), "accuracy", over=BASELINE)
        return Report(
            title="Navigating label ambiguity: wrong labels and unequal classes",
            body=f"{table}\n\n{DIFFERENCES}",
            figures={name: found.to_json() for name, found in figures.items()},
            plots=(plot,),
        )
