"""Accuracy, calibration, likelihood and spread of a model's distributions (section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from arbex.checkpoint import Run, load_run, open_run
from arbex.data.layouts import parse_source
from arbex.data.loading import FaceDataset, log_unreadable
from arbex.data.samples import FaceSet
from arbex.data.splits import ALL, has_splits, read_split, read_training_part
from arbex.models import ExpressionClassifier
from arbex.models.custom import Backbone
from arbex.prediction import BATCH, predict
from arbex.progress import SILENT, Reporter
from arbex.settings import MOST_UNREADABLE
from arbex.spec import ECE_BINS, PROBABILITY_FLOOR

UNREADABLE = "unreadable-{}-of-evaluation.log"
"""File in a run that lists the images that were left out, by split; training has a list of its own."""


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
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    ece: float
    nll: float
    confusion: tuple[tuple[int, ...], ...]
    per_class: Mapping[str, ClassScores]

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "ece": self.ece,
            "nll": self.nll,
            "confusion": [list(row) for row in self.confusion],
            "per_class": {name: asdict(one) for name, one in self.per_class.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Scores:
        """Builds the value from what ``to_json`` returned; other keys are ignored."""
        return cls(
            accuracy=value["accuracy"],
            balanced_accuracy=value["balanced_accuracy"],
            macro_f1=value["macro_f1"],
            ece=value["ece"],
            nll=value["nll"],
            confusion=tuple(tuple(row) for row in value["confusion"]),
            per_class={name: ClassScores(**one) for name, one in value["per_class"].items()},
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
    """

    corrected: Scores
    primary: Scores
    std_primary: float
    std_corrected: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back, with the corrected scores at the top level."""
        return {
            **self.corrected.to_json(),
            "primary": self.primary.to_json(),
            "std_primary": self.std_primary,
            "std_corrected": self.std_corrected,
            "n": self.n,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Builds the value from what ``to_json`` returned."""
        return cls(
            corrected=Scores.from_json(value),
            primary=Scores.from_json(value["primary"]),
            std_primary=value["std_primary"],
            std_corrected=value["std_corrected"],
            n=value["n"],
        )


def scores(probabilities: Tensor, labels: Tensor, names: tuple[str, ...]) -> Scores:
    """Measures distributions ``[n, N]`` against labels ``[n]``.

    Args:
        probabilities: float32 ``[n, N]``, each row summing to 1.
        labels: Position of each image's class ``[n]``.
        names: Names of the N classes.
    """
    from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support
    from torchmetrics.functional.classification import multiclass_calibration_error

    truth, guess = labels.numpy(), probabilities.argmax(-1).numpy()
    classes = list(range(len(names)))
    precision, recall, f1, count = precision_recall_fscore_support(truth, guess, labels=classes, zero_division=0)
    occurs = count > 0
    # One value above 1, by the rounding of a sum, and torchmetrics takes all of them for logits.
    shares = probabilities.clamp(0, 1)
    ece = multiclass_calibration_error(shares, labels, len(names), n_bins=ECE_BINS, norm="l1")
    safe = probabilities.double().clamp_min(PROBABILITY_FLOOR)
    return Scores(
        accuracy=float((truth == guess).mean()),
        balanced_accuracy=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        ece=float(ece),
        nll=float(log_loss(truth, (safe / safe.sum(-1, keepdim=True)).numpy(), labels=classes)),
        confusion=tuple(tuple(row) for row in confusion_matrix(truth, guess, labels=classes).tolist()),
        per_class={
            name: ClassScores(precision=float(precision[i]), recall=float(recall[i]), f1=float(f1[i]), n=int(count[i]))
            for i, name in enumerate(names)
        },
    )


def measure(model: ExpressionClassifier, images: FaceDataset, *, mirrored: bool = False) -> Evaluation:
    """Measures both distributions of a model on labeled images, or their means over each image and its mirror image."""
    corrected, primary, *_ = predict(model, images.batches(BATCH), mirrored=mirrored)
    return Evaluation(
        corrected=scores(corrected, images.labels, model.labels),
        primary=scores(primary, images.labels, model.labels),
        std_primary=float(primary.std(-1).mean()),
        std_corrected=float(corrected.std(-1).mean()),
        n=len(images),
    )


def evaluate(
    run: str,
    data: str,
    split: str = "test",
    *,
    backbone: Backbone | str | None = None,
    most_unreadable: float = MOST_UNREADABLE,
    mapping: Mapping[str, str] | None = None,
    mirrored: bool = False,
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
        report: Takes progress.

    Raises:
        RunError: If the run cannot be used.
        DataError: If the data cannot be used, or has classes that the run does not have and that are not mapped.
    """
    model = load_run(run, backbone=backbone)
    faces = read_images(open_run(run), data, split, mapping or {}, report)
    there = {sample.label for sample in faces.samples}
    absent = [name for i, name in enumerate(model.labels) if i not in there]
    if absent:
        report.line(f"{data} has no images of {', '.join(absent)}; means over classes leave them out")
    with report.bar(f"reading {split}", len(faces.samples)) as step:
        images = FaceDataset(faces, model.preprocessing.image_size, most_unreadable=most_unreadable, progress=step)
    log_unreadable(images, Path(run) / UNREADABLE.format(split), report)
    return measure(model, images, mirrored=mirrored)


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
