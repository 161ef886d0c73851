"""Training of one epoch: the model, its optimizer and the data of a run, set up on a device by Lightning Fabric.

An epoch depends only on the seed, its number and the weights before it. The random generators are seeded at the start
of each epoch, so a resumed run continues exactly as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from arbex.checkpoint import RunConfig, build_model
from arbex.data.augmentation import Normalize, augment
from arbex.data.loading import FaceDataset, whole_batch
from arbex.data.sampler import RefinementSampler
from arbex.errors import RunError
from arbex.evaluation.scores import Evaluation, measure_predictions
from arbex.methods import load_method
from arbex.methods.base import StudentOutput, TrainingBatch, cross_entropy
from arbex.models import ExpressionClassifier
from arbex.prediction import BATCH, answers_of, gather_evidence
from arbex.progress import Step
from arbex.training.devices import average, share_of_batch, synchronize_norms
from arbex.training.distillation import Teacher
from arbex.training.early_learning import PREFIX, EarlyLearning
from arbex.training.mixing import mix
from arbex.training.muon import dense_weights
from arbex.training.optimization import AVERAGES, WeightAverage, learning_rate, make_optimizer, set_learning_rate
from arbex.training.supervision import DeepSupervision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def scaled(losses: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Returns the losses times a factor."""
    return {name: factor * value for name, value in losses.items()}


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
        for module in (self.supervised, self.teacher):
            if module is not None:
                module.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        if settings.compile:
            self.supervised.compile()
        self.method = load_method(config.method, config.method_options)
        self.method.set_up(self.raw.head, settings)
        rates = self.method.rates(self.raw.head, settings)
        inner = [*dense_weights(self.raw.encoder), *self.raw.head.inner_weights]
        optimizer = make_optimizer(self.supervised, inner, settings, rates)
        self.model, self.optimizer = self.fabric.setup(self.supervised, optimizer)
        self.average = WeightAverage(self.raw, settings.averaging) if settings.averaging else None
        self.early_learning = EarlyLearning.of(settings, len(images), len(config.labels))
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
        if self.early_learning:
            losses |= self.early_learning.loss(self.fabric, balance.corrected, positions, outputs)
        if self.teacher is None:
            return losses
        with self.fabric.autocast():  # the student's own forward pass has it from Fabric
            answers = self.teacher.balance(images.contiguous(memory_format=self.memory_format))
        taught = self.teacher.losses(answers, outputs, balance.embedding)
        return scaled(losses, 1 - settings.distil_share) | scaled(taught, settings.distil_share)

    def epoch(self, number: int, done: Step) -> dict[str, float]:
        """Trains epoch ``number``, counted from 1, and returns the mean of each loss.

        Raises:
            RunError: If the loss is not finite.
        """
        torch.manual_seed(self.settings.seed * 1_000_003 + number + 7_919 * self.fabric.global_rank)
        self.sampler.choose_epoch(number)
        self.method.start_epoch(self.raw.head, number, self.settings)
        self.model.train()
        sums: dict[str, Tensor] = {}  # on the device: reading a loss would wait for it
        steps = len(self.loader)
        for i, (pixels, targets, positions) in enumerate(self.loader):
            set_learning_rate(self.optimizer, learning_rate(self.settings, number - 1 + i / steps))
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

    def validate(self) -> tuple[Evaluation, dict[str, float]]:
        """Measures the model on the validation split, and describes its head by what the method logs."""
        model, labels = self.result, self.validation.labels
        evidence = gather_evidence(model, self.validation.batches(BATCH))
        found = measure_predictions(answers_of(model.head, evidence), labels, model.labels)
        with torch.inference_mode():
            return found, self.method.describe(model.head, evidence, labels)

    def state(self) -> dict[str, Tensor]:
        """Returns what a resumed training needs besides the optimizer and the method: weights, averages, memories."""
        state = self.supervised.state_dict()
        for each in (self.average, self.early_learning):
            state |= each.state() if each else {}
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what ``state`` returned."""
        averages, memories = (
            {name: tensor for name, tensor in state.items() if name.startswith(prefix)} for prefix in (AVERAGES, PREFIX)
        )
        others = averages | memories
        self.supervised.load_state_dict({name: tensor for name, tensor in state.items() if name not in others})
        if self.early_learning:
            self.early_learning.restore(memories)
        if self.average:
            self.average.restore(averages)
