"""The training loop, on Lightning Fabric.

An epoch depends only on the seed, its number and the weights before it. The random generators are seeded at the start
of each epoch, so a resumed run continues exactly as an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from arbex.checkpoint import (
    BEST,
    LAST,
    METRICS,
    RunConfig,
    build_model,
    load_run,
    open_run,
    read_config,
    write_config,
    write_weights,
)
from arbex.data.augmentation import Normalize, augment
from arbex.data.loading import FaceDataset, log_unreadable, whole_batch
from arbex.data.noise import with_noise
from arbex.data.sampler import RefinementSampler
from arbex.data.samples import summary
from arbex.data.splits import read_split
from arbex.errors import InputError, RunError
from arbex.evaluation import Evaluation, measure
from arbex.files import write_atomically
from arbex.methods import load_method
from arbex.methods.base import StudentOutput, TrainingBatch, cross_entropy
from arbex.models import EncoderConfig, ExpressionClassifier
from arbex.progress import SILENT, Reporter, Step
from arbex.spec import digest_file
from arbex.training.configuration import TrainRequest, adapted, check_resume, make_config, with_precision
from arbex.training.devices import average, make_fabric, share_of_batch, synchronize_norms
from arbex.training.distillation import Teacher
from arbex.training.mixing import mix
from arbex.training.optimization import AVERAGES, WeightAverage, learning_rate, make_optimizer
from arbex.training.state import EpochMetrics, TrainState, read_state, write_state
from arbex.training.supervision import DeepSupervision
from arbex.weights.matching import fill, recognize
from arbex.weights.torch_file import WeightsFile, read_weights_file

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def scaled(losses: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Returns the losses times a factor."""
    return {name: factor * value for name, value in losses.items()}


SHOWN_REPEATS = 1.05
"""How often, on average, an epoch must show the images of a class for a message to say so."""


class Trainer:
    """The model, its optimizer and the data of a run, set up on a device."""

    def __init__(
        self,
        fabric: Fabric,
        config: RunConfig,
        images: FaceDataset,
        validation: FaceDataset,
        *,
        backbone: str | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        """Builds the model and its surroundings; the same seed gives the same weights."""
        settings = config.settings
        self.fabric, self.config, self.settings, self.validation = fabric, config, settings, validation
        torch.manual_seed(settings.seed)
        self.raw: ExpressionClassifier = build_model(config, backbone)
        self.teacher = teacher.to(fabric.device) if teacher else None
        self.supervised = DeepSupervision(self.raw, tokens=settings.lambda_tokens > 0)
        if fabric.world_size > 1:
            synchronize_norms(self.supervised, fabric.device)
        self.memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.supervised.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        if settings.compile:
            self.supervised.compile()
        optimizer = make_optimizer(self.supervised, self.raw.encoder, settings)
        self.model, self.optimizer = self.fabric.setup(self.supervised, optimizer)
        self.average = WeightAverage(self.raw, settings.averaging) if settings.averaging else None
        self.method = load_method(config.method, config.method_options)
        self.method.set_up(self.raw.head, settings)
        self.normalize = Normalize(config.preprocessing).to(self.fabric.device)
        samples = images.faces.samples
        self.sampler = RefinementSampler(
            [s.label for s in samples],
            [s.group for s in samples],
            per_group=settings.images_per_group,
            per_class=settings.images_per_class,
            sampling=settings.sampling,
            seed=settings.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        share = share_of_batch(settings.batch_size, fabric.world_size)
        lonely = len(self.sampler) % share == 1  # a batch of one has no batch statistics
        loader = DataLoader(images, share, sampler=self.sampler, drop_last=lonely, collate_fn=whole_batch)
        self.loader = cast(
            "DataLoader[tuple[Tensor, Tensor, Tensor]]",
            self.fabric.setup_dataloaders(loader, use_distributed_sampler=False),
        )

    def step(self, pixels: Tensor, targets: Tensor, positions: Tensor, epoch: int) -> dict[str, Tensor]:
        """Updates the weights once and returns the losses, as scalars on the device.

        Args:
            pixels: Images before augmentation, uint8 ``[B, 3, S, S]``.
            targets: Target distributions ``[B, N]``.
            positions: Positions of the images in the training split ``[B]``.
            epoch: Number of the epoch, from 1.
        """
        settings = self.settings
        targets = self.method.corrected_targets(targets, positions)
        images = augment(pixels, settings.augmentation, erasing=settings.erasing)
        images, targets = mix(images, targets, mixup_alpha=settings.mixup, cutmix_alpha=settings.cutmix)
        losses = self.losses(images, targets, positions, epoch)
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.settings.gradient_clip)
        self.optimizer.step()
        if self.average:
            self.average.update(self.raw)
        return {name: value.detach() for name, value in {"loss": total, **losses}.items()}

    def losses(self, images: Tensor, targets: Tensor, positions: Tensor, epoch: int) -> dict[str, Tensor]:
        """Returns the weighted losses of augmented images ``[B, 3, S, S]`` in 0..255; see ``step``."""
        settings, images = self.settings, self.method.views(images)
        found = self.model(self.normalize(images).contiguous(memory_format=self.memory_format))
        balance, tokens = found.balance, found.tokens
        losses = self.method.losses(
            TrainingBatch(
                self.raw.head,
                balance,
                targets,
                settings,
                positions,
                epoch=epoch,
                maps=found.maps,
                features=found.features,
            )
        )
        outputs = self.method.student_outputs(balance, settings)
        if tokens is not None:
            views = targets.repeat(len(tokens) // len(targets), 1)
            losses["tokens"] = settings.lambda_tokens * cross_entropy(tokens, views, settings.label_smoothing)
            outputs = (*outputs, StudentOutput(tokens, settings.lambda_tokens))
        if self.teacher is None:
            return losses
        taught = self.teacher.losses(images, outputs, balance.embedding)
        return scaled(losses, 1 - settings.distil_share) | scaled(taught, settings.distil_share)

    def epoch(self, number: int, done: Step) -> dict[str, float]:
        """Trains epoch ``number``, counted from 1, and returns the mean of each loss.

        Raises:
            RunError: If the loss is not finite.
        """
        torch.manual_seed(self.settings.seed * 1_000_003 + number + 7_919 * self.fabric.global_rank)
        self.sampler.choose_epoch(number)
        self.model.train()
        sums: dict[str, Tensor] = {}  # on the device: reading a loss would wait for it
        steps = len(self.loader)
        for i, (pixels, targets, positions) in enumerate(self.loader):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.settings, number - 1 + i / steps)
            for name, value in self.step(pixels, targets, positions, number).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            done(i + 1)
        means = average(self.fabric, {name: float(value) / steps for name, value in sums.items()})
        if not math.isfinite(means["loss"]):
            raise RunError(
                f"The loss of epoch {number} is {means['loss']}.",
                remedy=f"Lower the learning rate: --set learning_rate={self.settings.learning_rate / 10:g}.",
            )
        return means

    @property
    def result(self) -> ExpressionClassifier:
        """The model that is validated and stored: the one that is trained, or the one with averaged weights."""
        return cast("ExpressionClassifier", self.average.model) if self.average else self.raw

    def validate(self) -> Evaluation:
        """Measures the model on the validation split."""
        return measure(self.result, self.validation)

    def state(self) -> dict[str, Tensor]:
        """Returns what a resumed training needs besides the optimizer and the method: weights and their averages."""
        return self.supervised.state_dict() | (self.average.state() if self.average else {})

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what ``state`` returned."""
        averages = {name: tensor for name, tensor in state.items() if name.startswith(AVERAGES)}
        self.supervised.load_state_dict({name: tensor for name, tensor in state.items() if name not in averages})
        if self.average:
            self.average.restore(averages)


def keep_metrics(run: Path, epochs: int) -> None:
    """Drops the lines of ``metrics.jsonl`` after the first ``epochs``: the epoch they belong to was interrupted."""
    lines = (run / METRICS).read_text().splitlines() if (run / METRICS).is_file() else []
    write_atomically(run / METRICS, "".join(f"{line}\n" for line in lines[:epochs]))


def load_images(request: TrainRequest, report: Reporter) -> tuple[FaceDataset, FaceDataset]:
    """Reads and decodes the training and validation splits."""
    train = read_split(request.data, "train", hold_out=True)
    validation = read_split(request.data, "val", labels=train.labels, hold_out=True)
    report.line(f"train: {summary(train)}")
    report.line(f"val:   {summary(validation)}")
    side = request.side
    settings = request.settings
    most, soft = settings.max_unreadable, settings.soft_targets
    noisy = with_noise(train, settings.label_noise, settings.seed) if settings.label_noise else train
    with report.bar("reading train", len(train.samples)) as step:
        images = FaceDataset(noisy, side, soft=soft, most_unreadable=most, progress=step)
    with report.bar("reading val", len(validation.samples)) as step:
        return images, FaceDataset(validation, side, most_unreadable=most, progress=step)


def report_repeats(trainer: Trainer, report: Reporter) -> None:
    """Reports which classes an epoch repeats, and how often."""
    repeats = {label: times for label, times in trainer.sampler.repeats().items() if times >= SHOWN_REPEATS}
    if repeats:
        each = ", ".join(f"{trainer.config.labels[label]} {times:.1f} times" for label, times in repeats.items())
        report.line(f"epoch: {len(trainer.sampler)} images; those of small classes are shown, on average: {each}")


def load_teacher(request: TrainRequest, labels: tuple[str, ...]) -> Teacher | None:
    """Reads the teacher, if one was given.

    Raises:
        RunError: If the teacher cannot be read, or was trained on other classes.
    """
    if request.teacher is None:
        return None
    model = load_run(request.teacher, backbone=request.teacher_backbone)
    if model.labels != labels:
        raise RunError(
            f"The teacher {request.teacher} has the classes {', '.join(model.labels)}; the data has "
            f"{', '.join(labels)}.",
            remedy="Train teacher and student on the same classes in the same order.",
        )
    return Teacher(model, request.settings.distil_temperature, request.settings.distil_embedding)


def initial_weights(request: TrainRequest) -> list[WeightsFile]:
    """Reads the files and runs of ``--init``."""
    return [read_weights_file(path / BEST if path.is_dir() else path) for path in request.init]


def origins(request: TrainRequest, files: list[WeightsFile]) -> dict[str, str]:
    """Returns the digests of the weights that a run starts from."""
    found = {}
    if files:
        found["init"] = ",".join(digest_file(file.path) for file in files)
    if request.teacher is not None:
        found["teacher"] = open_run(request.teacher).digest
    return found


def brings_landmarks(path: Path, file: WeightsFile) -> bool:
    """Returns whether a run or a file holds trained weights of the landmark backbone."""
    if path.is_dir():
        encoder = read_config(path).encoder
        return isinstance(encoder, EncoderConfig) and encoder.freeze_landmarks
    return recognize(file).brings_landmarks


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


def start(request: TrainRequest, trainer: Trainer, files: list[WeightsFile], report: Reporter) -> TrainState:
    """Writes a new run with its initial weights, or restores the run to resume."""
    run, config = request.out, trainer.config
    if request.resume:
        state, weights, method = read_state(run, trainer.optimizer)
        trainer.restore(weights)
        trainer.method.restore(method)
        if trainer.fabric.is_global_zero:
            keep_metrics(run, state.epoch)
            write_config(run, config)
        return state
    for file in files:
        matching = fill(trainer.raw, file, head=not request.new_head)
        report.line(f"{file.path}: {matching.source.name}, {len(matching.tensors)} tensors loaded (--init)")
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
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a run is a folder.", remedy="Give another --out.")
    if not request.resume and out.exists() and any(out.iterdir()):
        raise InputError(
            f"{out} is not empty.",
            remedy="Continue it with --resume, give another --out, or remove the folder first.",
        )
    if request.resume and not out.is_dir():
        raise RunError(f"There is no run {out} to resume.", remedy="Leave --resume out to start a new run.")


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
    images, validation = load_images(request, report)
    files = initial_weights(request)
    teacher = load_teacher(request, images.faces.labels)
    landmarks = any(brings_landmarks(path, file) for path, file in zip(request.init, files, strict=True))
    config = make_config(request, images.faces, origins(request, files), landmarks=landmarks)
    if request.resume:
        check_resume(request.out, config)
    trainer = Trainer(fabric, config, images, validation, backbone=request.backbone, teacher=teacher)
    state = start(request, trainer, files, report)
    report_repeats(trainer, report)
    if request.settings.precision != "32-true":
        report.line(f"precision: {request.settings.precision}; --set precision=32-true trains in float32 throughout")
    if fabric.is_global_zero:
        for dataset in (images, validation):
            log_unreadable(dataset, request.out, report)
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
        validation = trainer.validate()
        metrics = EpochMetrics(
            epoch=number,
            losses=losses,
            accuracy=validation.corrected.accuracy,
            nll=validation.corrected.nll,
            ece=validation.corrected.ece,
            primary_accuracy=validation.primary.accuracy,
            seconds=time.monotonic() - started,
            learning_rate=trainer.optimizer.param_groups[0]["lr"],
        )
        state = write_epoch(request.out, trainer, state, metrics)
        report.line(
            f"epoch {number}: loss {losses['loss']:.3f}, val accuracy {metrics.accuracy:.3f} "
            f"(primary {metrics.primary_accuracy:.3f}), {metrics.seconds:.1f} s"
        )
    return trainer.fabric.broadcast(state)
