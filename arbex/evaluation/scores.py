"""Accuracy, calibration, likelihood and spread of distributions (section 4.4), as frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from torch import Tensor

from arbex.evaluation.metrics import COVERAGES, Answers, judge
from arbex.evaluation.metrics import measure as figures_of
from arbex.evaluation.resampling import ENDS, resamples_of_groups
from arbex.evaluation.subgroups import GroupScores, Interval, WorstGroup
from arbex.models.distributions import certainty
from arbex.prediction import Predictions
from arbex.spec import PROBABILITY_FLOOR

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
        threshold: Confidence below which the run counts an answer as unsure; None if every answer counts, or if the
            answers are those of several runs.
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
        **({} if threshold is None else {"threshold": threshold, **sure_answers(found, labels, threshold)}),
    )


def sure_answers(found: Predictions, labels: Tensor, threshold: float | Tensor) -> dict[str, Any]:
    """Returns the share of answers that reach a threshold, and their accuracy, by the names of an evaluation.

    Args:
        found: The answers to n images.
        labels: Position of each image's class ``[n]``.
        threshold: Confidence below which an answer counts as unsure; one for each image ``[n]`` if several models
            answered.
    """
    sure = found.confidence >= threshold
    right = (found.corrected.argmax(-1) == labels)[sure]
    return {
        "coverage": float(sure.double().mean()),
        "accuracy_of_sure": float(right.double().mean()) if len(right) else None,
    }
