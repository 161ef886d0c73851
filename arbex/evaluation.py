"""Accuracy, calibration, likelihood and spread of a model's distributions (section 4.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor

from arbex.checkpoint import Run, load_run, open_run
from arbex.data.layouts import parse_source
from arbex.data.loading import FaceDataset, log_unreadable
from arbex.data.samples import FaceSet
from arbex.data.splits import ALL, has_splits, read_split, read_training_part
from arbex.errors import InputError, MissingPackageError
from arbex.files import refuse_file
from arbex.groups import read_groups
from arbex.metrics import COVERAGES, Answers, judge
from arbex.metrics import measure as figures_of
from arbex.models.custom import Backbone
from arbex.models.head import certainty
from arbex.prediction import BATCH, Predictions, predict
from arbex.progress import SILENT, Reporter
from arbex.resampling import ENDS, resamples_of_groups
from arbex.settings import MOST_UNREADABLE
from arbex.spec import PROBABILITY_FLOOR
from arbex.subgroups import GroupScores, Interval, WorstGroup, measure_groups

UNREADABLE = "unreadable-{}-of-evaluation.log"
"""File in a run that lists the images that were left out, by split; training has a list of its own."""

FIGURES: Final = (
    *("accuracy", "balanced_accuracy", "macro_f1", "ece", "nll"),
    *("ece_equal_mass", "brier", "auroc", "aurc", *COVERAGES),
)
"""Names of the figures of a distribution, in the order of the JSON output."""

REST: Final = ("std_primary", "std_corrected", "n", "threshold", "coverage", "accuracy_of_sure")
"""Names of what an evaluation holds besides its distributions, in the order of the JSON output."""


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """How well one class is recognized.

    Attributes:
        precision: Share of the answers for this class that are right, in [0, 1].
        recall: Share of the images of this class that are recognized, in [0, 1].
        f1: Harmonic mean of precision and recall.
        n: Number of images of this class.
    """

    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How good one distribution is on labeled images.

    Attributes:
        accuracy: Share of right answers, in [0, 1].
        balanced_accuracy: Mean recall of the classes that occur, in [0, 1].
        macro_f1: Mean F1 of the classes that occur, in [0, 1].
        ece: Expected calibration error, with 15 bins of equal width and the L1 norm, in [0, 1].
        nll: Mean negative log-likelihood of the labels, in nats.
        confusion: Number of images by class (rows) and answer (columns), ``[N, N]``.
        per_class: Scores of each class by its name.
        ece_equal_mass: Expected calibration error with 15 bins of equally many images, in [0, 1].
        brier: Mean squared distance of the distribution from the label, in [0, 2].
        auroc: Share of pairs of a right and a wrong answer in which the right one is more confident, in [0, 1]; None
            if all answers are right, or all are wrong.
        aurc: Area under the risk-coverage curve: share of wrong answers among the most confident ones, averaged over
            how many of those are taken, in [0, 1].
        accuracy_at_90: Accuracy of the 90 % most confident answers, in [0, 1].
        accuracy_at_70: Accuracy of the 70 % most confident answers, in [0, 1].
        ci95: Ends of the 95 % interval of each of these figures by its name (bootstrap over people or videos where they
            are known, else over images); empty if it was not asked for.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    ece: float
    nll: float
    confusion: tuple[tuple[int, ...], ...]
    per_class: Mapping[str, ClassScores]
    ece_equal_mass: float
    brier: float
    auroc: float | None
    aurc: float
    accuracy_at_90: float
    accuracy_at_70: float
    ci95: Mapping[str, Interval] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return {
            **{name: getattr(self, name) for name in FIGURES},
            "confusion": [list(row) for row in self.confusion],
            "per_class": {name: asdict(one) for name, one in self.per_class.items()},
            "ci95": {name: list(ends) for name, ends in self.ci95.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scores:
        """Builds the value from what ``to_json`` returned; other keys are ignored."""
        return cls(
            **{name: value[name] for name in FIGURES},
            confusion=tuple(tuple(row) for row in value["confusion"]),
            per_class={name: ClassScores(**one) for name, one in value["per_class"].items()},
            ci95={name: (low, high) for name, (low, high) in value["ci95"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of both distributions of a model on one split of a data set.

    Attributes:
        corrected: Scores of the corrected distribution.
        primary: Scores of the primary distribution.
        std_primary: Standard deviation of the primary distribution over classes, averaged over images (Fig. 5).
        std_corrected: Standard deviation of the corrected distribution, computed in the same way.
        n: Number of images.
        threshold: Confidence below which the run counts an answer as unsure; None if every answer counts.
        coverage: Share of the answers that are not unsure, in [0, 1]; None without a threshold.
        accuracy_of_sure: Accuracy of the answers that are not unsure; None without a threshold, or without any.
        groups: Scores in each group of images by its name, if groups were asked for.
        worst_group: The group with the lowest accuracy, if groups were asked for.
    """

    corrected: Scores
    primary: Scores
    std_primary: float
    std_corrected: float
    n: int
    threshold: float | None = None
    coverage: float | None = None
    accuracy_of_sure: float | None = None
    groups: Mapping[str, GroupScores] = field(default_factory=dict)
    worst_group: WorstGroup | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back, with the corrected scores at the top level."""
        return {
            **self.corrected.to_json(),
            "primary": self.primary.to_json(),
            **{name: getattr(self, name) for name in REST},
            "groups": {name: asdict(group) for name, group in self.groups.items()},
            "worst_group": None if self.worst_group is None else asdict(self.worst_group),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Builds the value from what ``to_json`` returned."""
        return cls(
            corrected=Scores.from_json(value),
            primary=Scores.from_json(value["primary"]),
            **{name: value[name] for name in REST},
            groups={name: GroupScores(**with_interval(group)) for name, group in value["groups"].items()},
            worst_group=None if value["worst_group"] is None else WorstGroup(**with_interval(value["worst_group"])),
        )


def with_interval(value: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a JSON object whose lists are intervals."""
    return {name: tuple(entry) if isinstance(entry, list) else entry for name, entry in value.items()}


def scores(
    probabilities: Tensor,
    labels: Tensor,
    names: tuple[str, ...],
    *,
    confidence: Tensor | None = None,
    groups: Sequence[str] | None = None,
) -> Scores:
    """Measures distributions ``[n, N]`` against labels ``[n]``.

    Args:
        probabilities: float32 ``[n, N]``, each row summing to 1.
        labels: Position of each image's class ``[n]``.
        names: Names of the N classes.
        confidence: Confidence of each answer ``[n]``; by default that of the distributions.
        groups: Person or video of each image, empty if unknown; None leaves the intervals out, which take a second.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    answers = judged(probabilities, labels, confidence)
    classes = list(range(len(names)))
    precision, recall, f1, count = precision_recall_fscore_support(
        answers.labels, answers.guesses, labels=classes, zero_division=0
    )
    figures: dict[str, Any] = {
        name: None if math.isnan(value) else value for name, value in figures_of(answers).items()
    }
    return Scores(
        **figures,
        confusion=tuple(
            tuple(row) for row in confusion_matrix(answers.labels, answers.guesses, labels=classes).tolist()
        ),
        per_class={
            name: ClassScores(precision=float(precision[i]), recall=float(recall[i]), f1=float(f1[i]), n=int(count[i]))
            for i, name in enumerate(names)
        },
        ci95={} if groups is None else intervals(answers, groups),
    )


def judged(probabilities: Tensor, labels: Tensor, confidence: Tensor | None = None) -> Answers:
    """Returns distributions ``[n, N]`` compared with labels ``[n]``; the confidence is by default their own."""
    if confidence is None:
        confidence = certainty(probabilities.clamp_min(PROBABILITY_FLOOR).log()).squeeze(-1)
    return judge(probabilities.numpy(), confidence.numpy(), labels.numpy())


def intervals(answers: Answers, groups: Sequence[str]) -> dict[str, Interval]:
    """Returns the 95 % interval of each figure by its name, from a bootstrap over groups of images.

    Args:
        answers: The answers.
        groups: Person or video of each image; empty if unknown.
    """
    defined = [name for name, value in figures_of(answers).items() if not math.isnan(value)]
    found = [figures_of(answers, weights) for weights in resamples_of_groups(groups)]
    ends = {name: np.nanquantile([each[name] for each in found], ENDS).tolist() for name in defined}
    return {name: (low, high) for name, (low, high) in ends.items()}


def measure_predictions(
    found: Predictions,
    labels: Tensor,
    names: tuple[str, ...],
    *,
    threshold: float | None = None,
    groups: Sequence[str] | None = None,
) -> Evaluation:
    """Measures both distributions of a model's answers.

    Args:
        found: The answers to n images.
        labels: Position of each image's class ``[n]``.
        names: Names of the classes.
        threshold: Confidence below which an answer counts as unsure.
        groups: Person or video of each image, empty if unknown; None leaves the intervals out, which take seconds.
    """
    return Evaluation(
        corrected=scores(found.corrected, labels, names, confidence=found.confidence, groups=groups),
        primary=scores(found.primary, labels, names, groups=groups),
        std_primary=float(found.primary.std(-1).mean()),
        std_corrected=float(found.corrected.std(-1).mean()),
        n=len(labels),
        **({} if threshold is None else sure_answers(found, labels, threshold)),
    )


def sure_answers(found: Predictions, labels: Tensor, threshold: float) -> dict[str, Any]:
    """Returns the threshold, the share of answers that reach it, and their accuracy, by the names of an evaluation."""
    sure = found.confidence >= threshold
    right = (found.corrected.argmax(-1) == labels)[sure]
    return {
        "threshold": threshold,
        "coverage": float(sure.double().mean()),
        "accuracy_of_sure": float(right.double().mean()) if len(right) else None,
    }


def evaluate(
    run: str,
    data: str,
    split: str = "test",
    *,
    backbone: Backbone | str | None = None,
    most_unreadable: float = MOST_UNREADABLE,
    mapping: Mapping[str, str] | None = None,
    mirrored: bool = False,
    plots: Path | None = None,
    by: str | None = None,
    report: Reporter = SILENT,
) -> Evaluation:
    """Measures a run on one split of a data set, which may lack classes of the model.

    Args:
        run: Folder of the run.
        data: ``PATH`` or ``LAYOUT:PATH``.
        split: ``train``, ``val`` or ``test``, or ``all`` of them together.
        backbone: As for :func:`~arbex.checkpoint.load_run`.
        most_unreadable: Share of images that may be left out because they cannot be read; a file in the run lists them.
        mapping: Class of the model, or ``-`` to leave it out, by class of the data set; a class that is missing keeps
            its name.
        mirrored: Whether to average the distributions over each image and its mirror image.
        plots: Folder in which to draw the reliability diagram and the risk-coverage curve; None for no plots.
        by: Column of ``labels.csv`` in the data by which to group images; the layout must be ``folder``.
        report: Takes progress.

    Raises:
        RunError: If the run cannot be used.
        DataError: If the data cannot be used, or has classes that the run does not have and that are not mapped.
    """
    check_plots(plots)
    check_groups(by, data)
    model, opened = load_run(run, backbone=backbone), open_run(run)
    faces = read_images(opened, data, split, mapping or {}, report)
    there = {sample.label for sample in faces.samples}
    absent = [name for i, name in enumerate(model.labels) if i not in there]
    if absent:
        report.line(f"{data} has no images of {', '.join(absent)}; means over classes leave them out")
    with report.bar(f"reading {split}", len(faces.samples)) as step:
        images = FaceDataset(faces, model.preprocessing.image_size, most_unreadable=most_unreadable, progress=step)
    log_unreadable(images, Path(run) / UNREADABLE.format(split), report)
    found = predict(model, images.batches(BATCH), mirrored=mirrored)
    if plots is not None:
        answers = {
            "corrected": judged(found.corrected, images.labels, found.confidence),
            "primary": judged(found.primary, images.labels),
        }
        for file in draw(plots, answers):
            report.line(f"plot: {file}")
    threshold, samples = opened.calibration.threshold, images.faces.samples
    people = [sample.group for sample in samples]
    result = measure_predictions(found, images.labels, model.labels, threshold=threshold, groups=people)
    if by is None:
        return result
    names = read_groups(parse_source(data).path, by, [sample.file for sample in samples])
    corrected = judged(found.corrected, images.labels, found.confidence)
    groups, worst = measure_groups(corrected, names, people)
    return replace(result, groups=groups, worst_group=worst)


def check_groups(by: str | None, data: str) -> None:
    """Checks, before images are read, that they can be grouped.

    Raises:
        InputError: If the layout has no table of groups.
    """
    layout = parse_source(data).layout
    if by is not None and layout != "folder":
        raise InputError(
            f"--by {by} needs the layout 'folder', not {layout!r}.",
            remedy="Leave --by out, or give the images as a folder with labels.csv.",
        )


def draw(folder: Path, answers: Mapping[str, Answers]) -> list[Path]:
    """Draws the reliability diagram and the risk-coverage curve, and returns the files.

    Raises:
        InputError: If the folder cannot be written.
    """
    from arbex.evaluation_plots import write_plots  # late: it needs matplotlib

    return write_plots(folder, answers)


def check_plots(folder: Path | None) -> None:
    """Checks, before images are read, that plots can be written.

    Raises:
        InputError: If the folder is a file.
        MissingPackageError: If matplotlib is not installed.
    """
    if folder is None:
        return
    refuse_file(folder)
    if find_spec("matplotlib") is None:
        raise MissingPackageError("matplotlib", "drawing plots (--plots)", extra="experiments")


def read_images(run: Run, data: str, split: str, mapping: Mapping[str, str], report: Reporter) -> FaceSet:
    """Reads the images to measure a run on.

    Where a data set without splits is the one that the run was trained on, they are the tenth that was held out, unless
    ``split`` is ``train`` or ``all``.

    Args:
        run: The run.
        data: Data set.
        split: Name of the split.
        mapping: As for ``evaluate``.
        report: Takes what the figures do not tell.

    Raises:
        DataError: If the data cannot be used.
    """
    labels, whole = run.config.labels, not has_splits(data)
    if not run.epoch:
        report.line(f"warning: {run.path} is untrained; its answers are random")
    if not run.epoch or not (whole or split in ("train", ALL)):
        return read_split(data, split, labels=labels, mapping=mapping)
    trained = read_training_part(data, labels)
    same = trained is not None and trained.digest == run.config.data.get("train_digest")
    if same and split in ("train", ALL):
        report.line(f"warning: the run was trained on images of {data} that are measured; the figures flatter it")
    elif same:
        split = "val"
        report.line(
            f"{data} has no splits, and the run was trained on it: measured on the tenth of the images that was held "
            "out from training, on which the best epoch was chosen"
        )
    elif whole and str(parse_source(data).absolute()) == run.config.data.get("path"):
        report.line(
            f"warning: {data} has no splits, and has changed since the run was trained on it: images of the training "
            "may be among those measured, and flatter the figures"
        )
    return read_split(data, split, labels=labels, hold_out=same, mapping=mapping)
