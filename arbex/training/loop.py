"""The training of a run: its data, its initial weights, and what each epoch writes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from arbex.checkpoint import (
    BEST,
    LAST,
    METRICS,
    Run,
    RunConfig,
    load_run,
    open_run,
    write_config,
    write_weights,
)
from arbex.data.imbalance import with_imbalance
from arbex.data.layouts import open_layout, parse_source
from arbex.data.loading import FaceDataset, log_unreadable
from arbex.data.noise import with_noise
from arbex.data.samples import FaceSet, summary
from arbex.data.splits import read_split
from arbex.errors import InputError, RunError
from arbex.files import refuse_file, write_atomically
from arbex.images import split_folders
from arbex.models.custom import BackboneConfig
from arbex.progress import SILENT, Reporter
from arbex.spec import digest_file
from arbex.training.calibrating import calibrate_run
from arbex.training.configuration import TrainRequest, adapted, make_config, with_precision
from arbex.training.devices import make_fabric
from arbex.training.distillation import Teacher
from arbex.training.initial_weights import InitialWeights, load_into, read_initial_weights
from arbex.training.optimization import current_learning_rate
from arbex.training.resuming import check_epochs, resumed_config
from arbex.training.state import EpochMetrics, TrainState, read_state, write_state
from arbex.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


UNREADABLE = "unreadable-{}.log"
"""File in a run that lists the images that were left out, by split."""

SHOWN_REPEATS = 1.05
"""How often, on average, an epoch must show the images of a class for a message to say so."""


def keep_metrics(run: Path, epochs: int) -> None:
    """Drops the lines of ``metrics.jsonl`` after the first ``epochs``: the epoch they belong to was interrupted."""
    lines = (run / METRICS).read_text().splitlines() if (run / METRICS).is_file() else []
    write_atomically(run / METRICS, "".join(f"{line}\n" for line in lines[:epochs]))


class TrainingImages(NamedTuple):
    """The images of a training.

    Attributes:
        train: Decoded training split.
        validation: Decoded validation split.
        found: The training split as it was found, with right labels and unreadable images.
    """

    train: FaceDataset
    validation: FaceDataset
    found: FaceSet


def load_images(request: TrainRequest, report: Reporter) -> TrainingImages:
    """Reads and decodes the training and validation splits."""
    train = read_split(request.data, "train", hold_out=True)
    validation = read_split(request.data, "val", labels=train.labels, hold_out=True)
    for oddity in open_layout(request.data).oddities(train.labels):
        report.line(f"warning: {oddity}")
    report.line(f"train: {summary(train)}")
    report.line(f"val:   {summary(validation)}")
    side = request.side
    settings = request.settings
    most, soft = settings.max_unreadable, settings.soft_targets
    share, kind = settings.label_noise, settings.label_noise_kind
    kept = with_imbalance(train, settings.imbalance, settings.seed) if settings.imbalance > 1 else train
    noisy = with_noise(kept, share, settings.seed, kind) if share else kept
    with report.bar("reading train", len(noisy.samples)) as step:
        images = FaceDataset(noisy, side, soft=soft, most_unreadable=most, progress=step)
    with report.bar("reading val", len(validation.samples)) as step:
        return TrainingImages(images, FaceDataset(validation, side, most_unreadable=most, progress=step), train)


def report_repeats(trainer: Trainer, report: Reporter) -> None:
    """Reports which classes an epoch repeats, and how often."""
    repeats = trainer.sampler.repeats()
    many = {label: times for label, times in repeats.items() if times >= SHOWN_REPEATS}
    if not many:
        return
    each = ", ".join(f"{trainer.config.labels[label]} {times:.1f} times" for label, times in many.items())
    if len(many) == len(repeats) and max(many.values()) < SHOWN_REPEATS * min(many.values()):
        each = f"each of them {min(many.values()):.1f} times"
    report.line(f"epoch: {len(trainer.sampler)} images; shown on average: {each}")


def load_teacher(request: TrainRequest, labels: tuple[str, ...]) -> Teacher | None:
    """Reads the teacher, if one was given.

    Raises:
        RunError: If the teacher cannot be read or is untrained, or was trained on other classes.
    """
    if request.teacher is None:
        return None
    run = open_run(request.teacher)
    check_backbone(run, request.teacher_backbone)
    if not run.epoch:
        raise RunError(
            f"The teacher {request.teacher} is untrained: its answers are random.",
            remedy="Train it first, or give another run.",
        )
    model = load_run(request.teacher, backbone=request.teacher_backbone)
    if model.labels != labels:
        raise RunError(
            f"The teacher {request.teacher} has the classes {', '.join(model.labels)}; the data has "
            f"{', '.join(labels)}.",
            remedy="Train teacher and student on the same classes in the same order.",
        )
    settings = request.settings
    return Teacher(model, settings.distil_temperature, settings.distil_embedding, mirrored=settings.distil_mirrored)


def check_backbone(teacher: Run, given: str | None) -> None:
    """Checks that a teacher with a backbone of its own was given with that backbone, and others without.

    Raises:
        RunError: If it was not.
    """
    encoder = teacher.config.encoder
    own = encoder.backbone if isinstance(encoder, BackboneConfig) else None
    if own == given:
        return
    if own is None:
        raise RunError(
            f"The teacher {teacher.path} was trained with preset {teacher.config.preset}, not on {given}.",
            remedy="Leave --teacher-backbone out.",
        )
    raise RunError(
        f"The teacher {teacher.path} was trained on the backbone {own}; loading it needs that code.",
        remedy=f"If you trust that code, add: --teacher-backbone {own}.",
    )


def origins(request: TrainRequest, weights: list[InitialWeights]) -> dict[str, str]:
    """Returns the digests of the weights that a run starts from."""
    found = {}
    if weights:
        found["init"] = ",".join(digest_file(each.file.path) for each in weights)
    if request.teacher is not None:
        found["teacher"] = open_run(request.teacher).digest
        found["teacher_path"] = str(request.teacher.resolve())
    return found


def write_epoch(run: Path, trainer: Trainer, state: TrainState, metrics: EpochMetrics) -> TrainState:
    """Writes the results of an epoch; the resume file is the last of them, and commits the epoch."""
    weights, epoch = trainer.result.state_dict(), metrics.epoch
    metadata = {"epoch": str(epoch), "val_accuracy": f"{metrics.score[0]:.6f}"}
    write_weights(run / LAST, weights, metadata)
    if metrics.score > state.best_score:
        write_weights(run / BEST, weights, metadata)
        state = replace(state, best_epoch=epoch, best_score=metrics.score)
    with (run / METRICS).open("a") as stream:
        stream.write(json.dumps(metrics.to_json()) + "\n")
    state = replace(state, epoch=epoch)
    write_state(run, state, trainer.state(), trainer.optimizer, trainer.method.state())
    return state


def start(request: TrainRequest, trainer: Trainer, weights: list[InitialWeights], report: Reporter) -> TrainState:
    """Writes a new run with its initial weights, or restores the run to resume."""
    run, config = request.out, trainer.config
    if request.resume:
        state, tensors, method = read_state(run, trainer.optimizer)
        check_epochs(run, state, config.settings.epochs)
        trainer.restore(tensors)
        trainer.method.restore(method)
        if trainer.fabric.is_global_zero:
            keep_metrics(run, state.epoch)
            write_config(run, config)
        return state
    for each in weights:
        report.line(load_into(trainer.raw, each, config.labels, new_head=request.new_head))
    if trainer.fabric.is_global_zero:
        write_start(run, config, trainer)
    return TrainState()


def write_start(run: Path, config: RunConfig, trainer: Trainer) -> None:
    """Writes a run in its state before the first epoch."""
    run.mkdir(parents=True, exist_ok=True)
    weights = trainer.raw.state_dict()
    for name in (BEST, LAST):
        write_weights(run / name, weights, {"epoch": "0"})
    write_atomically(run / METRICS, "")
    write_state(run, TrainState(), trainer.state(), trainer.optimizer, {})
    write_config(run, config)


def check_folder(request: TrainRequest) -> None:
    """Checks that the output folder can take a new run, or holds the run to resume.

    Raises:
        InputError: If the folder cannot take a new run.
        RunError: If there is no run to resume.
    """
    out = request.out
    refuse_file(out)
    check_place(out, request.data)
    if not request.resume and out.exists() and any(out.iterdir()):
        raise InputError(
            f"{out} is not empty.",
            remedy="Continue it with --resume, give another --out, or remove the folder first.",
        )
    if request.resume and not out.is_dir():
        raise RunError(f"There is no run {out} to resume.", remedy="Leave --resume out to start a new run.")


def check_place(out: Path, data: str) -> None:
    """Refuses a folder in which a later training would take the run for a class.

    Raises:
        InputError: If the run would lie among the folders of classes.
    """
    source = parse_source(data)
    if source.layout != "folder" or not source.path.is_dir():
        return
    for folder in split_folders(source.path).values() or [source.path]:
        if out.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"{out} lies among the images in {folder}, where it would be taken for a class.",
                remedy="Give another --out.",
            )


def train(request: TrainRequest, *, report: Reporter = SILENT) -> TrainState:
    """Trains a model and writes its run; with 0 epochs, writes the initialized model.

    Started by ``torchrun``, or with several devices, each process trains on its share of every batch, and the first
    process writes the run.

    Args:
        request: What to train.
        report: Takes progress and one line per epoch.

    Returns:
        The position after the last epoch.

    Raises:
        InputError: If data, runs, output folder or settings cannot be used; nothing is written then.
        RunError: If the loss of an epoch is not finite.
    """
    check_folder(request)
    request = with_precision(adapted(request))
    fabric = make_fabric(request.devices, request.settings.precision)
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):  # training seeds torch's generators; the caller's stay as they are
        return train_on(fabric, request, report if fabric.is_global_zero else SILENT)


def train_on(fabric: Fabric, request: TrainRequest, report: Reporter) -> TrainState:
    """Trains a model in the processes of ``fabric`` and returns the position after the last epoch."""
    images, validation, found = load_images(request, report)
    weights = read_initial_weights(request.init)
    teacher = load_teacher(request, images.faces.labels)
    landmarks = any(each.brings_landmarks for each in weights)
    config = make_config(request, found, origins(request, weights), landmarks=landmarks)
    if request.resume:
        config = resumed_config(request.out, config)
    trainer = Trainer(fabric, config, images, validation, backbone=request.backbone, teacher=teacher)
    state = start(request, trainer, weights, report)
    if request.settings.epochs > state.epoch:
        report_repeats(trainer, report)
    if request.settings.precision != "32-true" and request.settings.epochs > state.epoch:
        report.line(f"precision: {request.settings.precision}; --set precision=32-true trains in float32 throughout")
    if fabric.is_global_zero:
        for dataset in (images, validation):
            log_unreadable(dataset, request.out / UNREADABLE.format(dataset.faces.split), report)
    if request.resume and state.epoch == request.settings.epochs:
        report.line(f"{request.out} has trained for all of its {state.epoch} epochs; --epochs gives it more")
    try:
        state = run_epochs(request, trainer, state, report)
    except KeyboardInterrupt:
        report.line(f"{request.out} keeps the epochs that were trained; the same with --resume goes on")
        raise
    if fabric.is_global_zero and state.best_epoch:
        calibrate_run(request, validation, fabric.device, report)
    return state


def run_epochs(request: TrainRequest, trainer: Trainer, state: TrainState, report: Reporter) -> TrainState:
    """Trains until all epochs are done, or nothing gets better; returns the position after the last one."""
    for number in range(state.epoch + 1, request.settings.epochs + 1):
        if is_exhausted(state, request.settings.patience):
            report.line(f"no epoch since {state.best_epoch} was better on validation (patience)")
            break
        state = run_epoch(request, trainer, state, number, report)
    return state


def is_exhausted(state: TrainState, patience: int) -> bool:
    """Returns whether the last ``patience`` epochs were no better than one before them; without patience, never."""
    return bool(patience) and state.epoch - state.best_epoch >= patience


def run_epoch(request: TrainRequest, trainer: Trainer, state: TrainState, number: int, report: Reporter) -> TrainState:
    """Trains, validates and writes one epoch; returns the new position in every process."""
    started = time.monotonic()
    with report.bar(f"epoch {number}/{request.settings.epochs}", len(trainer.loader)) as step:
        losses = trainer.epoch(number, step)
    if trainer.fabric.is_global_zero:
        validation, head = trainer.validate()
        metrics = EpochMetrics(
            epoch=number,
            losses=losses,
            accuracy=validation.corrected.accuracy,
            nll=validation.corrected.nll,
            ece=validation.corrected.ece,
            primary_accuracy=validation.primary.accuracy,
            seconds=time.monotonic() - started,
            learning_rate=current_learning_rate(trainer.optimizer),
            head=head,
        )
        state = write_epoch(request.out, trainer, state, metrics)
        report.line(
            f"epoch {number}: loss {losses['loss']:.3f}, val accuracy {metrics.accuracy:.3f} "
            f"(primary {metrics.primary_accuracy:.3f}), {metrics.seconds:.1f} s"
        )
    return trainer.fabric.broadcast(state)
