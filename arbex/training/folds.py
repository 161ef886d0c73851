"""Cross-validation over people: one run per fold, measured on the people that it has never seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from arbex.checkpoint import RESUME, load_run, open_run
from arbex.data.layouts import open_layout, parse_source
from arbex.data.layouts.people import FOLD, PeopleLayout
from arbex.data.loading import FaceDataset
from arbex.data.splits import read_split
from arbex.errors import InputError
from arbex.evaluation.scores import Evaluation, measure_predictions, sure_answers
from arbex.files import write_atomically
from arbex.prediction import BATCH, Predictions, predict
from arbex.progress import Reporter
from arbex.training.arguments import TrainArguments, make_request
from arbex.training.loop import train

PEOPLE = "people"
"""Number of folds that stands for the number of people."""

RESULT = "folds.json"
"""File next to the runs with their figures."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One run of a cross-validation.

    Attributes:
        run: Its folder.
        people: The people that it was tested on.
        n: Number of their images.
        accuracy: Share of right answers among these, in [0, 1].
        threshold: Confidence below which the run counts an answer as unsure; None if every answer counts.
    """

    run: str
    people: tuple[str, ...]
    n: int
    accuracy: float
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Figures of all folds.

    Attributes:
        folds: The runs, in order.
        pooled: Figures of the answers to all images, each by the run that has not seen its person; the intervals are
            over people, and what counts as sure was for each image decided by the run that answered.
    """

    folds: Sequence[Fold]
    pooled: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Returns the content of ``folds.json``."""
        return {"folds": [asdict(fold) for fold in self.folds], "pooled": self.pooled.to_json()}


def count_folds(data: str, folds: str) -> int:
    """Returns the number of folds.

    Args:
        data: Data set.
        folds: A number of at least 2, or ``people``.

    Raises:
        InputError: If it is neither, there are too few people, or the data set has splits of its own.
    """
    layout = open_layout(data)
    if not isinstance(layout, PeopleLayout) or FOLD in parse_source(data).options:
        raise InputError(
            f"{data} cannot be dealt out to folds (--folds).",
            allowed="Allowed: data sets of known people without splits, without the option fold: jaffe, ckplus, ferg.",
        )
    people = len(layout.people)
    if folds != PEOPLE and (not folds.isdecimal() or not 2 <= int(folds) <= people):
        raise InputError(f"--folds is {folds!r}.", allowed=f"Allowed: 2 to {people}, or {PEOPLE} for one each.")
    return people if folds == PEOPLE else int(folds)


def cross_validate(given: TrainArguments, folds: str, report: Reporter) -> CrossValidation:
    """Trains and tests a run per fold, below the folder of ``given``, and writes ``folds.json`` there.

    Runs that exist are continued, so that an interrupted cross-validation goes on.

    Args:
        given: Arguments of each training.
        folds: As for ``count_folds``.
        report: Takes progress.

    Raises:
        InputError: If the data cannot be dealt out, or arguments cannot be used.
    """
    count, out = count_folds(given.data, folds), given.out
    assert out is not None
    source = parse_source(given.data)
    found, answers, tests = [], [], []
    for number in range(1, count + 1):
        data = str(source._replace(options={**source.options, FOLD: f"{number}/{count}"}))
        run = out / f"fold-{number:0{len(str(count))}}"
        report.line(f"fold {number} of {count}: {run}")
        train(make_request(replace(given, data=data, out=run, resume=(run / RESUME).is_file())), report=report)
        fold, answer, images = measure_fold(run, data, given.backbone)
        report.line(f"fold {number} of {count}: accuracy {fold.accuracy:.3f} on {fold.n} images of other people")
        found.append(fold)
        answers.append(answer)
        tests.append(images)
    together = Predictions(*(torch.cat(each) for each in zip(*answers, strict=True)))
    labels = torch.cat([images.labels for images in tests])
    people = [sample.group for images in tests for sample in images.faces.samples]
    pooled = measure_predictions(together, labels, tests[0].faces.labels, groups=people)
    thresholds = [torch.full((fold.n,), fold.threshold) for fold in found if fold.threshold is not None]
    if len(thresholds) == count:
        pooled = replace(pooled, **sure_answers(together, labels, torch.cat(thresholds)))
    result = CrossValidation(folds=found, pooled=pooled)
    write_atomically(out / RESULT, json.dumps(result.to_json(), indent=1) + "\n")
    return result


def measure_fold(run: Path, data: str, backbone: str | None) -> tuple[Fold, Predictions, FaceDataset]:
    """Returns the outcome of a fold, its answers and its test images."""
    model = load_run(run, backbone=backbone)
    opened = open_run(run)
    most = opened.config.settings.max_unreadable
    faces = read_split(data, "test", labels=model.labels, mapping={})  # with a mapping, classes may be missing
    images = FaceDataset(faces, model.preprocessing.image_size, most_unreadable=most)
    answers = predict(model, images.batches(BATCH))
    right = answers.corrected.argmax(-1) == images.labels
    people = tuple(sorted({sample.group for sample in images.faces.samples}))
    fold = Fold(
        run=str(run),
        people=people,
        n=len(images),
        accuracy=float(right.double().mean()),
        threshold=opened.calibration.threshold,
    )
    return fold, answers, images
