"""Measuring a run on labeled images of any data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from arbex.checkpoint import Run, load_run, open_run
from arbex.data.groups import read_groups
from arbex.data.layouts import parse_source
from arbex.data.loading import FaceDataset, log_unreadable
from arbex.data.samples import FaceSet
from arbex.data.splits import ALL, has_splits, read_split, read_training_part
from arbex.errors import InputError, MissingPackageError
from arbex.evaluation.metrics import Answers
from arbex.evaluation.scores import Evaluation, judged, measure_predictions
from arbex.evaluation.subgroups import measure_groups
from arbex.files import refuse_file
from arbex.models.custom import Backbone
from arbex.prediction import BATCH, predict
from arbex.progress import SILENT, Reporter
from arbex.settings import MOST_UNREADABLE

UNREADABLE = "unreadable-{}-of-evaluation.log"
"""File in a run that lists the images that were left out, by split; training has a list of its own."""


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
    named = {} if by is None else groups_of(data, by, faces)
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
    names = np.array([named[sample.file] for sample in samples])
    corrected = judged(found.corrected, images.labels, found.confidence)
    groups, worst = measure_groups(corrected, names, people)
    return replace(result, groups=groups, worst_group=worst)


def groups_of(data: str, by: str, faces: FaceSet) -> dict[Path, str]:
    """Returns the group of each image by its file.

    Raises:
        DataError: If the table lacks the column or an image.
    """
    files = [sample.file for sample in faces.samples]
    return dict(zip(files, read_groups(parse_source(data).path, by, files).tolist(), strict=True))


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
    from arbex.evaluation.plots import write_plots  # late: it needs matplotlib

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
    for warning in run.warnings:
        report.line(warning)
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
