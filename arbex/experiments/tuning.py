"""Choosing the settings of each method by its own accuracy on validation, with as many trainings for every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from arbex.experiments.gain import FEW, METHODS, Noise, setting_name
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import rows
from arbex.experiments.statistics import Estimate, estimate
from arbex.experiments.tables import markdown_table, percent
from arbex.methods import METHODS as ALL
from arbex.methods import method_class

USUAL: Final = "usual settings"
NOTE: Final = (
    "Accuracies in percent on validation, as means over seeds with their 95 % intervals; the labels of validation "
    "images are not changed. Every method has the same candidates, of which each "
    "changes one setting. The highest mean over all levels of noise is in bold: hand its settings to the other "
    "experiments. The highest of several candidates is partly luck, so that its figure on validation is too high; that "
    "on the test images is not."
)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Settings of a method, and how they did.

    Attributes:
        method: Name of the method.
        name: What is changed, in words.
        assignments: The change as ``name=value``.
        scores: Accuracy on validation by level of label noise.
    """

    method: str
    name: str
    assignments: tuple[str, ...]
    scores: Mapping[Noise, Estimate]

    @property
    def mean(self) -> Estimate:
        """Accuracy of each seed, as a mean over all levels."""
        by_seed = zip(*(each.values for each in self.scores.values()), strict=True)
        return estimate([fmean(values) for values in by_seed])

    @property
    def options(self) -> str:
        """Options of ``arbex experiment`` that give the settings to the runs of the method."""
        return " ".join(f"--set {self.method}:{text}" for text in self.assignments)

    def row(self, best: bool) -> list[str]:
        """Returns the row of the table."""
        mean = percent(self.mean)
        return [self.method, self.name, *map(percent, self.scores.values()), f"**{mean}**" if best else mean]

    def to_json(self) -> dict[str, Any]:
        """Returns the candidate as a dictionary."""
        scores = {f"noise {noise}": each.to_json() for noise, each in self.scores.items()}
        return {"settings": list(self.assignments), "mean": self.mean.to_json(), **scores}


class Tuning(Experiment):
    """Candidates for the settings of each method, with and without label noise."""

    name = "tuning"

    def candidates(self, budget: Budget, method: str) -> dict[str, tuple[str, ...]]:
        """Returns the settings of each candidate of a method by what they change."""
        rate = budget.settings_of(method).learning_rate
        return {
            USUAL: (),
            "half the learning rate": (f"learning_rate={rate / 2:g}",),
            "twice the learning rate": (f"learning_rate={rate * 2:g}",),
            "no label smoothing": ("label_smoothing=0",),
            "weight decay of 0.05": ("weight_decay=0.05",),
            "early-learning regularization": ("early_learning=3",),
        }

    def methods(self, budget: Budget) -> tuple[str, ...]:
        """Returns the methods, but for those that need a teacher, who has settings of its own."""
        return tuple(name for name in ALL if not method_class(name).needs_teacher) if budget.grid else METHODS

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each method, candidate and level of noise."""
        return [
            Setting(
                f"{setting_name(method, noise)}, {name}", method=method, assignments=(*assignments, *noise.assignments)
            )
            for method in self.methods(budget)
            for name, assignments in self.candidates(budget, method).items()
            for noise in FEW
        ]

    def tried(self, results: Results, budget: Budget, method: str) -> list[Candidate]:
        """Returns the candidates of a method with their accuracies."""

        def best(name: str, noise: Noise) -> Estimate:
            return estimate([max(one.curve) for one in results.of(f"{setting_name(method, noise)}, {name}")])

        return [
            Candidate(method=method, name=name, assignments=texts, scores={noise: best(name, noise) for noise in FEW})
            for name, texts in self.candidates(budget, method).items()
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns all candidates of each method, the best one in bold, and the options that give it to its runs."""
        tried = {method: self.tried(results, budget, method) for method in self.methods(budget)}
        chosen = {method: max(candidates, key=lambda each: each.mean.mean) for method, candidates in tried.items()}
        everything = [each for candidates in tried.values() for each in candidates]
        lines = [each.row(each is chosen[each.method]) for each in everything]
        options = " ".join(each.options for each in chosen.values() if each.assignments)
        head = ("method", "candidate", *(f"{noise} wrong labels" for noise in FEW), "mean")
        handed = f"The options for the other experiments: `{options}`." if options else "The usual settings are best."
        plot = rows(out / "tuning.png", {f"{each.method}, {each.name}": each.mean for each in everything}, "accuracy")
        return Report(
            title="Settings of each method, chosen on validation",
            body=f"{markdown_table(head, lines)}\n\n{handed}\n\n{NOTE}",
            figures={f"{each.method}, {each.name}": each.to_json() for each in everything},
            plots=(plot,),
            split="validation",
        )
