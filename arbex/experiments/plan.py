"""Settings, budget and results of an experiment, as frozen values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from arbex.checks import check_name
from arbex.evaluation.scores import Evaluation
from arbex.experiments.comparison import Difference, StoredAnswers, compare
from arbex.methods import METHODS, method_class
from arbex.methods.base import MethodOptions
from arbex.models import PRESETS
from arbex.models.head import ANCHORS
from arbex.settings import PRESET_SETTINGS, TrainSettings, assign, split
from arbex.spec import digest_json


@dataclass(frozen=True)
class Setting:
    """A way to train, repeated with several seeds.

    Attributes:
        name: Name of the setting in tables.
        method: Name of a method.
        anchors: Number of anchors per class.
        assignments: Settings and options of the method, in the form ``name=value`` of ``arbex train --set``.
        teacher: Name of the setting whose runs are the teachers, if any; that setting must not have a teacher itself.
        preset: Preset of the encoder, if it is not the budget's. The training stays that of the budget's.
    """

    name: str
    _: KW_ONLY
    method: str = "arbex"
    anchors: int = ANCHORS
    assignments: tuple[str, ...] = ()
    teacher: str | None = None
    preset: str | None = None


def of_method(text: str) -> tuple[str, str]:
    """Splits ``METHOD:name=value`` into the method, empty if there is none, and ``name=value``."""
    name, equals, value = text.partition("=")
    method, colon, own = name.partition(":")
    return (method, f"{own}{equals}{value}") if colon else ("", text)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Size of an experiment.

    Attributes:
        preset: Preset of all runs.
        epochs: Number of epochs per run; None for that of the preset.
        seeds: Number of runs per setting.
        grid: Whether tables have all rows and columns of the paper, or a few that span them.
        assignments: Settings of all runs, which those of a setting override; ``METHOD:name=value`` is one of the runs
            of that method alone.
        image_size: Side of the input in pixels; None for that of the preset.
        init: Runs, or files of published weights, that all runs take the encoder from; heads start from random weights.
    """

    preset: str
    epochs: int | None
    seeds: int
    grid: bool
    assignments: tuple[str, ...] = ()
    image_size: int | None = None
    init: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the preset, and the methods that settings are for.

        Raises:
            UnsupportedError: If one is not known.
        """
        check_name("preset", self.preset, PRESETS)
        for method, _ in map(of_method, self.assignments):
            if method:
                check_name("method", method, METHODS)

    def assignments_of(self, method: str) -> tuple[str, ...]:
        """Returns the settings of the runs of a method as ``name=value``: those of all runs, then its own."""
        texts = [of_method(text) for text in self.assignments]
        return tuple(text for whose in ("", method) for owner, text in texts if owner == whose)

    def settings_of(self, method: str) -> TrainSettings:
        """Returns the settings of the runs of a method, before an experiment changes some."""
        return assign(PRESET_SETTINGS[self.preset], self.assignments_of(method))[0]

    def options_of(self, method: str) -> MethodOptions:
        """Returns the options of the runs of a method, before an experiment changes some."""
        return assign(method_class(method).usual_options(self.preset), self.assignments_of(method))[0]

    @property
    def name(self) -> str:
        """Name of the folder of its runs; it has a digest of the settings that they share."""
        size = [f"{self.image_size}px"] if self.image_size else []
        epochs = [f"{self.epochs}-epochs"] if self.epochs is not None else []
        start = [f"from-{Path(path).stem}" for path in self.init]
        settings = [digest_json(self.assignments)[:8]] if self.assignments else []
        return "-".join([self.preset, *size, *start, *epochs, *settings])


BUDGETS = {
    # Takes minutes on two cores: the smallest preset on small images, with few images per class and epoch.
    "small": Budget(
        preset="tiny", epochs=12, seeds=3, grid=False, assignments=("images_per_class=180",), image_size=48
    ),
    "full": Budget(preset="base", epochs=None, seeds=3, grid=True),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one run.

    Attributes:
        setting: Name of the setting.
        seed: Seed of the run.
        scores: Evaluation on the test split, at the epoch that was best on validation.
        best_epoch: Number of that epoch.
        curve: Accuracy on validation after each epoch.
        head: What the method logged of its head after each epoch.
        seconds: Duration of training and evaluation.
        commands: Commands that train and evaluate the same run.
        run: Folder of the run.
    """

    setting: str
    seed: int
    scores: Evaluation
    best_epoch: int
    curve: tuple[float, ...]
    head: tuple[Mapping[str, float], ...]
    seconds: float
    commands: tuple[str, ...]
    run: str

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return {
            "setting": self.setting,
            "seed": self.seed,
            "scores": self.scores.to_json(),
            "best_epoch": self.best_epoch,
            "curve": list(self.curve),
            "head": [dict(each) for each in self.head],
            "seconds": self.seconds,
            "commands": list(self.commands),
            "run": self.run,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """Builds the value from what ``to_json`` returned."""
        return cls(
            setting=value["setting"],
            seed=value["seed"],
            scores=Evaluation.from_json(value["scores"]),
            best_epoch=value["best_epoch"],
            curve=tuple(value["curve"]),
            head=tuple(value["head"]),
            seconds=value["seconds"],
            commands=tuple(value["commands"]),
            run=value["run"],
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """Report of an experiment.

    Attributes:
        title: Title of the document.
        body: Tables and notes, as Markdown.
        figures: The same figures as data, for the JSON file.
        plots: Names of the image files.
        split: Split that the figures are for, unless they are said to be for another.
    """

    title: str
    body: str
    figures: Mapping[str, Any]
    plots: tuple[str, ...] = field(default=())
    split: str = "test"


class Results:
    """The outcomes of an experiment."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        """Sorts the outcomes by seed."""
        self.outcomes = sorted(outcomes, key=lambda outcome: outcome.seed)

    def of(self, setting: str) -> list[Outcome]:
        """Returns the outcomes of a setting."""
        return [outcome for outcome in self.outcomes if outcome.setting == setting]

    def answers(self, setting: str) -> list[StoredAnswers]:
        """Returns the answers of each run of a setting to the test images."""
        return [StoredAnswers.read(Path(outcome.run)) for outcome in self.of(setting)]

    def difference(self, setting: str, other: str) -> Difference:
        """Returns the difference in accuracy of two settings on the test images."""
        return compare(self.answers(setting), self.answers(other))

    def values(self, setting: str, name: str, *, primary: bool = False) -> list[float]:
        """Returns one score of each run of a setting, of its corrected or primary distribution; NaN if not defined."""
        found = [outcome.scores.primary if primary else outcome.scores.corrected for outcome in self.of(setting)]
        values = [getattr(scores, name) for scores in found]
        return [math.nan if value is None else float(value) for value in values]


class Experiment(ABC):
    """A table or a figure of the paper."""

    name: ClassVar[str]

    @abstractmethod
    def settings(self, budget: Budget) -> list[Setting]:
        """Returns the settings to train."""

    @abstractmethod
    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns tables of the outcomes, and writes plots of them.

        Args:
            results: Outcomes of all settings.
            budget: Size of the experiment.
            data: Data set, ``PATH`` or ``LAYOUT:PATH``.
            out: Folder of the plots.
        """


def chosen_by_every_run(settings: Sequence[Setting], budget: Budget) -> list[str]:
    """Returns the names of those settings of a budget that have no effect, since every run has its own value."""
    found = []
    for text in budget.assignments:
        method, own = of_method(text)
        name = name_of(own)
        concerned = [setting for setting in settings if method in ("", setting.method)]
        if concerned and all(name in map(name_of, setting.assignments) for setting in concerned):
            found.append(name)
    return found


def name_of(assignment: str) -> str:
    """Returns the name in ``name=value``."""
    return split(assignment)[0]


def choose_budget(name: str) -> Budget:
    """Returns a budget.

    Raises:
        UnsupportedError: If there is no budget of that name.
    """
    check_name("budget", name, BUDGETS)
    return BUDGETS[name]
