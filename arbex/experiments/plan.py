"""What an experiment trains, as frozen data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from arbex.checks import check_name
from arbex.evaluation import Evaluation
from arbex.models import PRESETS
from arbex.models.head import ANCHORS
from arbex.spec import digest_json


@dataclass(frozen=True)
class Setting:
    """One way to train, to be repeated with several seeds.

    Attributes:
        name: Identifies it in tables, and names its folder.
        method: Name of a method.
        anchors: Anchors a class.
        assignments: ``name=value`` for settings and the method's options, as ``arbex train --set`` takes them.
        teacher: Name of the setting that it learns from, which has no teacher itself.
    """

    name: str
    _: KW_ONLY
    method: str = "arbex"
    anchors: int = ANCHORS
    assignments: tuple[str, ...] = ()
    teacher: str | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much an experiment may cost.

    Attributes:
        preset: Of the model.
        epochs: Of every run; nothing for the preset's own.
        seeds: How many runs a setting.
        grid: Whether tables have all of the paper's rows and columns, or a few that span them.
        assignments: For every run, before a setting's own.
        image_size: Side of the input; nothing for the preset's own.
        init: Runs, or files of published weights, from which every run takes the encoder; heads start anew.
    """

    preset: str
    epochs: int | None
    seeds: int
    grid: bool
    assignments: tuple[str, ...] = ()
    image_size: int | None = None
    init: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the preset.

        Raises:
            UnsupportedError: If it is not known.
        """
        check_name("preset", self.preset, PRESETS)

    @property
    def name(self) -> str:
        """What all of its runs have in common, as the name of their folder; settings by their digest."""
        size = [f"{self.image_size}px"] if self.image_size else []
        epochs = [f"{self.epochs}-epochs"] if self.epochs is not None else []
        start = [f"from-{Path(path).stem}" for path in self.init]
        settings = [digest_json(self.assignments)[:8]] if self.assignments else []
        return "-".join([self.preset, *size, *start, *epochs, *settings])


BUDGETS = {
    # Minutes on two cores: the smallest preset on small images, few of every class an epoch.
    "small": Budget(
        preset="tiny", epochs=12, seeds=3, grid=False, assignments=("images_per_class=180",), image_size=48
    ),
    "full": Budget(preset="base", epochs=None, seeds=3, grid=True),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run showed.

    Attributes:
        setting: Name of its setting.
        seed: Its seed.
        scores: Evaluation on the test split, of the epoch that was best on validation.
        best_epoch: That epoch.
        curve: Accuracy on validation after each epoch.
        seconds: Duration of training.
        commands: What trains and measures the same by hand.
        run: Its folder.
    """

    setting: str
    seed: int
    scores: Evaluation
    best_epoch: int
    curve: tuple[float, ...]
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
            seconds=value["seconds"],
            commands=tuple(value["commands"]),
            run=value["run"],
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an experiment found.

    Attributes:
        title: Of the document.
        body: Markdown below it: tables and what to know of them.
        figures: The same as data, for the JSON.
        plots: Names of the image files that were written.
    """

    title: str
    body: str
    figures: Mapping[str, Any]
    plots: tuple[str, ...] = field(default=())


class Results:
    """The outcomes of an experiment by setting."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        """Sorts them by seed."""
        self.outcomes = sorted(outcomes, key=lambda outcome: outcome.seed)

    def of(self, setting: str) -> list[Outcome]:
        """Returns the runs of a setting."""
        return [outcome for outcome in self.outcomes if outcome.setting == setting]

    def values(self, setting: str, name: str, *, primary: bool = False) -> list[float]:
        """Returns one score of each run of a setting; of the primary distribution if asked for."""
        found = [outcome.scores.primary if primary else outcome.scores.corrected for outcome in self.of(setting)]
        return [float(getattr(scores, name)) for scores in found]


class Experiment(ABC):
    """A table or a figure of the paper."""

    name: ClassVar[str]

    @abstractmethod
    def settings(self, budget: Budget) -> list[Setting]:
        """Returns what has to be trained."""

    @abstractmethod
    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Makes tables and plots of the outcomes.

        Args:
            results: Of all settings.
            budget: What they cost.
            data: The data set.
            out: Folder for plots.
        """


def choose_budget(name: str) -> Budget:
    """Returns the budget of that name.

    Raises:
        UnsupportedError: If there is none.
    """
    check_name("budget", name, BUDGETS)
    return BUDGETS[name]
