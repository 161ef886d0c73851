"""The training loop, on Lightning Fabric.

An epoch depends on the seed, its number and the weights before it, and on nothing else: random numbers are
seeded anew for each, so a resumed run continues exactly as an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from arbex.checkpoint import (
    BEST,
    LAST,
    METRICS,
    RESUME,
    RunConfig,
    build_model,
    read_config,
    write_config,
    write_weights,
)
from arbex.data.augmentation import Normalise, augmentation, training_side
from arbex.data.folder import FaceSet, read_split, summary
from arbex.data.loading import FaceDataset, batches
from arbex.data.sampler import RefinementSampler
from arbex.errors import RunError
from arbex.evaluation import predict, scores
from arbex.files import write_atomically
from arbex.methods import load_method
from arbex.methods.base import cross_entropy
from arbex.models import PRESETS, ExpressionClassifier
from arbex.progress import SILENT, Reporter, Step
from arbex.spec import Preprocessing
from arbex.training.settings import TrainSettings
from arbex.training.state import TrainState, read_state, write_state
from arbex.training.supervision import DeepSupervision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainRequest:
    """What to train.

    Attributes:
        data: ``PATH`` or ``LAYOUT:PATH``.
        out: Folder of the run.
        preset: ``tiny``, ``mobile`` or ``base``.
        method: Name of a method.
        settings: How to train.
        anchors: Anchors a class.
        image_size: Side of the input, or the preset's.
        resume: Continue the run in ``out``.
    """

    data: str
    out: Path
    preset: str
    method: str
    settings: TrainSettings
    anchors: int = 10
    image_size: int | None = None
    resume: bool = False


def make_config(request: TrainRequest, faces: FaceSet) -> RunConfig:
    """Returns the configuration of a new run.

    Raises:
        RunError: If the image size does not fit the preset.
    """
    preset = PRESETS[request.preset]
    size = request.image_size or preset.image_size
    windows = [w * size / preset.image_size for w in preset.windows]
    if size % (16 * preset.subsample) or any(w != int(w) or w < 1 for w in windows):
        raise RunError(
            f"The image size {size} does not fit the preset {request.preset!r}.",
            allowed=f"Its own is {preset.image_size}; others must be multiples of {16 * preset.subsample} that scale "
            f"its windows {preset.windows} to whole cells.",
        )
    one, two, three = (int(w) for w in windows)
    # Nothing here is pretrained: a frozen landmark backbone would stay random.
    encoder = replace(preset, image_size=size, windows=(one, two, three), freeze_landmarks=False)
    data = {"path": str(faces.root.resolve()), "train_digest": faces.digest}
    return RunConfig(
        request.preset,
        request.method,
        faces.labels,
        encoder,
        request.anchors,
        Preprocessing(size),
        request.settings,
        data,
    )


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Splits parameters into decayed ones (matrices, kernels) and others (biases, norms, tokens, anchors)."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                matrix = name == "weight" and isinstance(module, nn.Linear | nn.Conv2d)
                (decayed if matrix else others).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Returns the learning rate after ``progress`` epochs (a fraction within an epoch counts)."""
    if settings.schedule == "exponential":
        return settings.learning_rate * settings.decay ** int(progress)
    share = progress / settings.epochs
    warm_up = min(1.0, share / 0.05 + 0.02)
    return settings.learning_rate * warm_up * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


class Trainer:
    """One training run: the model, its optimiser and the data, set up on a device."""

    def __init__(self, config: RunConfig, images: FaceDataset, validation: FaceDataset) -> None:
        """Builds everything from the configuration; the same seed gives the same weights."""
        from lightning_fabric import Fabric

        settings = config.settings
        self.config, self.settings, self.validation = config, settings, validation
        self.fabric: Fabric = Fabric(devices=1, precision=settings.precision)  # type: ignore[arg-type]
        torch.manual_seed(settings.seed)
        self.raw: ExpressionClassifier = build_model(config)
        self.supervised = DeepSupervision(self.raw, tokens=settings.lambda_tokens > 0)
        groups = parameter_groups(self.supervised, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.model, self.optimizer = self.fabric.setup(self.supervised, optimizer)
        self.method = load_method(config.method)
        self.method.set_up(self.raw.head, settings)
        size = config.preprocessing.image_size
        self.augment = augmentation(size).to(self.fabric.device)
        self.normalise = Normalise(config.preprocessing).to(self.fabric.device)
        samples = images.faces.samples
        self.sampler = RefinementSampler(
            [s.label for s in samples],
            [s.group for s in samples],
            per_group=settings.images_per_group,
            per_class=settings.images_per_class,
            seed=settings.seed,
        )
        lonely = len(self.sampler) % settings.batch_size == 1  # a batch of one has no batch statistics
        workers = 0 if images.cached else 2
        loader = DataLoader(images, settings.batch_size, sampler=self.sampler, num_workers=workers, drop_last=lonely)
        self.loader = cast(
            "DataLoader[tuple[Tensor, Tensor]]", self.fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        )

    def step(self, pixels: Tensor, targets: Tensor) -> dict[str, float]:
        """Updates the weights on a batch ``[B, 3, T, T]`` uint8, ``[B, N]`` and returns its losses."""
        images = self.normalise(self.augment(pixels.float() / 255) * 255)
        balance, tokens = self.model(images)
        losses = self.method.losses(self.raw.head, balance, targets, self.settings)
        if tokens is not None:
            of_tokens = cross_entropy(tokens, targets, self.settings.label_smoothing)
            losses["tokens"] = self.settings.lambda_tokens * of_tokens
        total = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.settings.gradient_clip)
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in {"loss": total, **losses}.items()}

    def epoch(self, number: int, done: Step) -> dict[str, float]:
        """Trains epoch ``number`` (from 1) and returns the mean of its losses."""
        torch.manual_seed(self.settings.seed * 1_000_003 + number)
        self.sampler.choose_epoch(number)
        self.model.train()
        sums: dict[str, float] = {}
        steps = len(self.loader)
        for i, (pixels, targets) in enumerate(batches(self.loader)):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.settings, number - 1 + i / steps)
            for name, value in self.step(pixels, targets).items():
                sums[name] = sums.get(name, 0.0) + value
            done(i + 1)
        means = {name: value / steps for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            raise RunError(
                f"The loss of epoch {number} is {means['loss']}.",
                remedy=f"Lower the learning rate: --set learning_rate={self.settings.learning_rate / 10:g}.",
            )
        return means

    def validate(self) -> dict[str, float]:
        """Returns accuracy and likelihood loss on the validation split, for both distributions."""
        corrected, primary = predict(self.raw, self.validation)
        after, before = (scores(p, self.validation.labels, self.config.labels) for p in (corrected, primary))
        return {
            "val_accuracy": after["accuracy"],
            "val_nll": after["nll"],
            "val_ece": after["ece"],
            "val_primary_accuracy": before["accuracy"],
        }


def keep_metrics(run: Path, epochs: int) -> None:
    """Drops the lines of ``metrics.jsonl`` behind ``epochs``: they belong to an epoch that was interrupted."""
    lines = (run / METRICS).read_text().splitlines() if (run / METRICS).is_file() else []
    write_atomically(run / METRICS, "".join(f"{line}\n" for line in lines[:epochs]))


def check_resume(run: Path, config: RunConfig) -> None:
    """Refuses to resume a run that was started with something else.

    Raises:
        RunError: If there is nothing to resume or it differs in more than the number of epochs.
    """
    if not (run / RESUME).is_file():
        raise RunError(f"{run} holds nothing to resume.", remedy="Train it anew without --resume.")
    old, new = read_config(run).to_json(), config.to_json()
    old["settings"]["epochs"] = new["settings"]["epochs"]
    for key in ("preset", "method", "labels", "encoder", "anchors", "settings", "data"):
        if old[key] != new[key]:
            raise RunError(
                f"{run} was started with other values of {key!r}.",
                remedy="Resume with the arguments of the first call, or train into a new folder.",
            )


def load_images(request: TrainRequest, report: Reporter) -> tuple[FaceDataset, FaceDataset]:
    """Reads and decodes the training and the validation split."""
    train = read_split(request.data, "train", hold_out=True)
    validation = read_split(request.data, "val", labels=train.labels, hold_out=True)
    report.line(f"train: {summary(train)}")
    report.line(f"val:   {summary(validation)}")
    size = request.image_size or PRESETS[request.preset].image_size
    with report.bar("reading train", len(train.samples)) as step:
        images = FaceDataset(train, training_side(size), soft=request.settings.soft_targets, progress=step)
    with report.bar("reading val", len(validation.samples)) as step:
        return images, FaceDataset(validation, size, progress=step)


def write_epoch(run: Path, trainer: Trainer, state: TrainState, metrics: dict[str, Any]) -> TrainState:
    """Writes what an epoch produced; the resume file comes last and makes it count."""
    weights, epoch = trainer.raw.state_dict(), state.epoch + 1
    score = (metrics["val_accuracy"], -metrics["val_nll"])
    metadata = {"epoch": str(epoch), "val_accuracy": f"{score[0]:.6f}"}
    write_weights(run / LAST, weights, metadata)
    if score > state.best_score:
        write_weights(run / BEST, weights, metadata)
        state = replace(state, best_epoch=epoch, best_score=score)
    with (run / METRICS).open("a") as stream:
        stream.write(json.dumps({"epoch": epoch, **metrics}) + "\n")
    state = replace(state, epoch=epoch)
    write_state(run, state, trainer.supervised.state_dict(), trainer.optimizer)
    return state


def start(request: TrainRequest, config: RunConfig, trainer: Trainer) -> TrainState:
    """Makes a new run with its initial weights, or restores the one to resume."""
    run = request.out
    if request.resume:
        state, weights = read_state(run, trainer.optimizer)
        trainer.supervised.load_state_dict(weights)
        keep_metrics(run, state.epoch)
        write_config(run, config)
        return state
    run.mkdir(parents=True, exist_ok=True)
    weights = trainer.raw.state_dict()
    for name in (BEST, LAST):
        write_weights(run / name, weights, {"epoch": "0"})
    write_atomically(run / METRICS, "")
    write_state(run, TrainState(), trainer.supervised.state_dict(), trainer.optimizer)
    write_config(run, config)
    return TrainState()


def train(request: TrainRequest, *, report: Reporter = SILENT) -> TrainState:
    """Trains a model and writes its run; with 0 epochs, writes the initialised model.

    Raises:
        DataError, RunError: If data, output folder or settings cannot be used; nothing is written then.
    """
    if request.out.exists() and not request.out.is_dir():
        raise RunError(f"{request.out} is a file; a run is a folder.", remedy="Give another --out.")
    if not request.resume and request.out.exists() and any(request.out.iterdir()):
        raise RunError(
            f"{request.out} already holds something.",
            remedy="Continue it with --resume, give another --out, or remove it first.",
        )
    if request.resume and not request.out.is_dir():
        raise RunError(f"There is no run {request.out} to resume.", remedy="Leave --resume out to start it.")
    images, validation = load_images(request, report)
    config = make_config(request, images.faces)
    if request.resume:
        check_resume(request.out, config)
    trainer = Trainer(config, images, validation)
    state = start(request, config, trainer)
    for number in range(state.epoch + 1, request.settings.epochs + 1):
        started = time.monotonic()
        with report.bar(f"epoch {number}/{request.settings.epochs}", len(trainer.loader)) as step:
            losses = trainer.epoch(number, step)
        metrics: dict[str, Any] = {**losses, **trainer.validate(), "seconds": time.monotonic() - started}
        metrics["learning_rate"] = trainer.optimizer.param_groups[0]["lr"]
        state = write_epoch(request.out, trainer, state, metrics)
        report.line(
            f"epoch {number}: loss {metrics['loss']:.3f}, val accuracy {metrics['val_accuracy']:.3f} "
            f"(primary {metrics['val_primary_accuracy']:.3f}), {metrics['seconds']:.1f} s"
        )
    return state
