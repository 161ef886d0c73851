"""Experiments of the other methods: the choices of TCL, and what NLA does with noise and imbalance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import bars
from arbex.experiments.statistics import PERCENT, Estimate, estimate, paired
from arbex.experiments.tables import markdown_table, percent
from arbex.methods.tcl import NEGATIVES

BASELINE: Final = "cross-entropy"
COLUMNS: Final = ("accuracy", "balanced_accuracy")


def measured(results: Results, name: str, baseline: str) -> dict[str, Estimate]:
    """Returns accuracies of a setting, and its gain over a baseline between runs of the same seed."""
    found = {each: estimate(results.values(name, each)) for each in COLUMNS}
    gain = paired(results.values(name, "accuracy"), results.values(baseline, "accuracy"))
    return {**found, "gain": gain}


def to_json(figures: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, object]]:
    """Returns estimates by setting and figure as dictionaries."""
    return {name: {key: value.to_json() for key, value in found.items()} for name, found in figures.items()}


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
        rows = [
            [
                name,
                *(percent(found[each]) for each in COLUMNS),
                "" if name == BASELINE else percent(found["gain"], sign=True),
            ]
            for name, found in figures.items()
        ]
        head = ("negatives", "accuracy %", "balanced %", f"gain over {BASELINE}")
        gains = [figures[name]["gain"] for name in names[1:]]
        plot = bars(out / "tcl.png", names[1:], gains, "", f"accuracy over that of {BASELINE}", sideways=True)
        return Report(
            title="Triplet-center loss: negatives and attention",
            body=markdown_table(head, rows),
            figures=to_json(figures),
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
        rows, figures = [], {}
        for condition in self.conditions(budget):
            for name in self.methods:
                setting, baseline = f"{name}, {condition}", f"{BASELINE}, {condition}"
                found = figures[setting] = measured(results, setting, baseline)
                gain = "" if name == BASELINE else percent(found["gain"], sign=True)
                rows.append([condition, name, *(percent(found[each]) for each in COLUMNS), gain])
        names = [name for name in figures if not name.startswith(BASELINE)]
        gains = [figures[name]["gain"] for name in names]
        plot = bars(out / "nla.png", names, gains, "", f"accuracy over that of {BASELINE}", sideways=True)
        return Report(
            title="Navigating label ambiguity: wrong labels and unequal classes",
            body=markdown_table(("training labels", "loss", "accuracy %", "balanced %", f"gain over {BASELINE}"), rows),
            figures=to_json(figures),
            plots=(plot,),
        )
