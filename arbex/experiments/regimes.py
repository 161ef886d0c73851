"""The gain of the reliability head with other labels, sampling and augmentation than usual."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from arbex.experiments import gain
from arbex.experiments.gain import FEW, METHODS, Noise, gains, setting_name
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import rows
from arbex.experiments.tables import markdown_table
from arbex.settings import TrainSettings, assign

USUAL: Final = "as usual"
REGIMES: Final = {
    "annotators' votes as targets": "soft_targets=true",
    "labels as targets": "soft_targets=false",
    "as many images of every class": "sampling=quota",
    "every image once per epoch": "sampling=natural",
    "no augmentation": "augmentation=none",
    "light augmentation": "augmentation=light",
    "heavy augmentation": "augmentation=heavy",
}
"""Setting of each regime by its name."""

HEAD: Final = ("training", *gain.HEAD[:-1])


def regimes(usual: TrainSettings) -> dict[str, tuple[str, ...]]:
    """Returns the settings of each regime that differs from the usual settings, and none for these."""
    others = {name: (text,) for name, text in REGIMES.items() if assign(usual, [text])[0] != usual}
    return {USUAL: (), **others}


def name_of(method: str, noise: Noise, regime: str) -> str:
    """Returns the name of a setting."""
    return f"{setting_name(method, noise)}, {regime}"


class Regimes(Experiment):
    """The head against a linear classifier in several regimes of training, with and without wrong labels."""

    name = "regimes"

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each regime, level of noise and method."""
        return [
            Setting(name_of(method, noise, regime), method=method, assignments=(*own, *noise.assignments))
            for method in METHODS
            for regime, own in regimes(budget.settings_of(method)).items()
            for noise in FEW
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns a row per regime and level of noise, and a plot of the gains."""
        usual = budget.settings_of(METHODS[0])
        found = {
            (regime, noise): gains(results, *(name_of(method, noise, regime) for method in METHODS))
            for regime in regimes(usual)
            for noise in FEW
        }
        lines = [[regime, *each.row(noise)[:-1]] for (regime, noise), each in found.items()]
        stands_for = [name for name, text in REGIMES.items() if assign(usual, [text])[0] == usual]
        over = {f"{regime}, {noise} wrong labels": each.over_poster for (regime, noise), each in found.items()}
        return Report(
            title="The head in several regimes of training",
            body=f"{markdown_table(HEAD, lines)}\n\n*{USUAL.capitalize()}*: {', '.join(stands_for)}. {gain.ACCURACIES}",
            figures={f"{regime}, noise {noise}": each.to_json() for (regime, noise), each in found.items()},
            plots=(rows(out / "regimes.png", over, "accuracy", over="poster"),),
        )
