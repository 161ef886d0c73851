"""The gain of the reliability head over a linear classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arbex.data.noise import KINDS
from arbex.experiments.comparison import DIFFERENCES, Difference, cells, compare
from arbex.experiments.paper import TABLE_2, TABLE_2_NOISE
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import bars
from arbex.experiments.statistics import PERCENT, Estimate, estimate, paired
from arbex.experiments.tables import markdown_table, percent

METHODS: Final = ("arbex", "poster")
HEAD: Final = (
    *("noise", "corrected %", "primary %", "poster %"),
    *("gain over poster", "McNemar's p", "on validation", "gain over primary", "paper's gain"),
)
SCORES: Final = ("ece", "nll", "aurc")
RELIABILITY = ("noise", *(f"{what}, {whose}" for what in ("ECE %", "NLL", "risk over coverage %") for whose in METHODS))
ACCURACIES: Final = (
    f"Accuracies are means over seeds with their 95 % intervals. {DIFFERENCES} `poster` is the same encoder with a "
    "linear classifier, `primary` the same run before the correction. The gain on validation compares the best "
    "epochs, with an interval over seeds; settings should be tuned on it."
)
NOTE: Final = (
    f"{ACCURACIES} The paper's gain is that of K = 10 over K = 0 on Aff-Wild2 (Table 2). In the second table, both "
    "models are calibrated, and lower is better."
)


@dataclass(frozen=True)
class Noise:
    """Wrong labels in training.

    Attributes:
        percent: Share of the labels in percent.
        kind: Which classes they are of, as in ``label_noise_kind``.
    """

    percent: int
    kind: str = "uniform"

    def __str__(self) -> str:
        """Returns the name in tables."""
        return f"{self.percent} %" if self.kind == "uniform" else f"{self.percent} % {self.kind}"

    @property
    def assignments(self) -> tuple[str, ...]:
        """Settings of the training."""
        kind = () if self.kind == "uniform" else (f"label_noise_kind={self.kind}",)
        return (f"label_noise={self.percent / PERCENT:g}", *kind)


FEW: Final = (Noise(0), Noise(20))
ALL: Final = (Noise(0), *(Noise(share, kind) for kind in KINDS for share in (10, 20, 30)))
"""The levels that the field reports."""


def setting_name(method: str, noise: Noise) -> str:
    """Returns the name of a setting."""
    return f"{method}, noise {noise}"


def published_gain(noise: Noise) -> str:
    """Returns the paper's gain of 10 anchors over none in percentage points, for noise that it has (Table 2)."""
    if noise.kind != "uniform" or noise.percent not in TABLE_2_NOISE:
        return "-"
    column = TABLE_2_NOISE.index(noise.percent)
    return f"{TABLE_2[10][column] - TABLE_2[0][column]:+.2f}"


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Accuracies and gains of a setting.

    Attributes:
        corrected: Accuracy of the corrected distribution.
        primary: Accuracy of the primary distribution of the same runs.
        poster: Accuracy of the linear classifier.
        over_poster: Gain of the corrected distribution over the linear classifier.
        over_primary: Its gain over the primary distribution.
        on_validation: Gain over the linear classifier in the best epochs on validation.
        reliability: Scores of both methods by ``SCORE_METHOD``, in the order of the second table.
    """

    corrected: Estimate
    primary: Estimate
    poster: Estimate
    over_poster: Difference
    over_primary: Difference
    on_validation: Estimate
    reliability: Mapping[str, Estimate]

    def row(self, noise: Noise) -> list[str]:
        """Returns the row of the table."""
        return [
            *(str(noise), percent(self.corrected), percent(self.primary), percent(self.poster)),
            *(*cells(self.over_poster), percent(self.on_validation, sign=True)),
            *(self.over_primary.text(), published_gain(noise)),
        ]

    def reliability_row(self, noise: Noise) -> list[str]:
        """Returns the row of the second table."""
        texts = [
            value.text(digits=3) if name.startswith("nll") else percent(value)
            for name, value in self.reliability.items()
        ]
        return [str(noise), *texts]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a dictionary."""
        single = {name: value for name, value in vars(self).items() if name != "reliability"}
        return {name: value.to_json() for name, value in {**single, **self.reliability}.items()}


def gains(results: Results, ours: str, linear: str) -> Gains:
    """Returns accuracies and gains of a setting with the head over one with a linear classifier."""
    answers = results.answers(ours)
    best = [[max(outcome.curve) for outcome in results.of(name)] for name in (ours, linear)]
    return Gains(
        corrected=estimate(results.values(ours, "accuracy")),
        primary=estimate(results.values(ours, "accuracy", primary=True)),
        poster=estimate(results.values(linear, "accuracy")),
        over_poster=results.difference(ours, linear),
        over_primary=compare(answers, [each.uncorrected for each in answers]),
        on_validation=paired(*best),
        reliability={
            f"{score}_{method}": estimate(results.values(setting, score))
            for score in SCORES
            for method, setting in zip(METHODS, (ours, linear), strict=True)
        },
    )


class Gain(Experiment):
    """The corrected distribution compared with the primary one and with a linear classifier, with and without noise."""

    name = "gain"

    def levels(self, budget: Budget) -> tuple[Noise, ...]:
        """Returns the levels of label noise."""
        return ALL if budget.grid else FEW

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each method and level of noise."""
        return [
            Setting(setting_name(method, noise), method=method, assignments=noise.assignments)
            for noise in self.levels(budget)
            for method in METHODS
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns accuracies, and differences between runs of the same seed."""
        levels = self.levels(budget)
        found = {noise: gains(results, *(setting_name(method, noise) for method in METHODS)) for noise in levels}
        shown: dict[str, Estimate] = {}
        for noise, each in found.items():
            shown |= {f"{name}\n{noise} noise": getattr(each, name) for name in ("corrected", "primary", "poster")}
        plot = bars(out / "gain.png", list(shown), list(shown.values()), "distribution and label noise", "accuracy")
        first = markdown_table(HEAD, [each.row(noise) for noise, each in found.items()])
        second = markdown_table(RELIABILITY, [each.reliability_row(noise) for noise, each in found.items()])
        return Report(
            title="Does the reliability head earn its place?",
            body=f"{first}\n\n{second}\n\n{NOTE}",
            figures={f"noise {noise}": each.to_json() for noise, each in found.items()},
            plots=(plot,),
        )
