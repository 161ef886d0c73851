"""The interface of every method, and the losses that several of them use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from arbex.models.head import Balance, Evidence, Head, LinearHead
from arbex.settings import TrainSettings


def cross_entropies(log_p: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Returns the cross-entropy [B] of log-probabilities [B, N] with smoothed targets [B, N]."""
    smooth = (1 - smoothing) * targets + smoothing / targets.shape[-1]
    return -(smooth * log_p).sum(-1)


def cross_entropy(log_p: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Returns the mean cross-entropy of log-probabilities [B, N] with smoothed targets [B, N]."""
    return cross_entropies(log_p, targets, smoothing).mean()


def strongest_other(values: Tensor, labels: Tensor) -> Tensor:
    """Returns, for values [B, N], the class of the largest one other than the label [B], as [B]."""
    return values.scatter(1, labels[:, None], float("-inf")).argmax(1)


class StudentOutput(NamedTuple):
    """A distribution that a teacher trains.

    Attributes:
        log_p: Log-probabilities [B, N].
        weight: Weight of its loss.
    """

    log_p: Tensor
    weight: float


@dataclass(frozen=True)
class TrainingBatch:
    """Everything that a method needs to compute the losses of one step, for B images in V views each.

    Attributes:
        head: The head that ``build_head`` returned.
        balance: Output of the head, V * B rows: first all images in the first view, then all in the second.
        targets: Target distributions, float32 [B, N].
        settings: Settings of the training.
        positions: Positions of the images in the training split [B].
        epoch: Number of the epoch, from 1.
        maps: The encoder's last feature map as tokens [V * B, T, D], or None if it has no such map.
        features: Input of the head: [V * B, D], or [V * B, R, D] for a method with regions.
    """

    head: nn.Module
    balance: Balance
    targets: Tensor
    settings: TrainSettings
    positions: Tensor
    _: KW_ONLY
    epoch: int = 1
    maps: Tensor | None = None
    features: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """Class of the largest target [B]."""
        return self.targets.argmax(-1)


def primary_loss(batch: TrainingBatch) -> Tensor:
    """Returns the mean cross-entropy of the primary distribution, for methods that train it alone."""
    return cross_entropy(batch.balance.primary, batch.targets, batch.settings.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Base class of a method's options, and the options of a method that has none."""

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that :func:`~arbex.methods.read_options` reads back."""
        return asdict(self)


Options = TypeVar("Options", bound=MethodOptions)


class Method(ABC, Generic[Options]):
    """A way to train: the head that it needs, the losses that it minimizes, and its state.

    Args:
        options: Options of the method; by default those of its publication.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    needs_teacher: ClassVar[bool] = False
    """Whether the method learns from another run's answers alone."""

    mixes: ClassVar[bool] = False
    """Whether the method can learn from blends of two images; most judge each image by itself."""

    anchored: ClassVar[bool] = False
    """Whether the head has anchors, whose number the user may choose."""

    @classmethod
    def usual_options(cls, preset: str) -> MethodOptions:
        """Returns the options that runs of a preset have unless others are given: those of the publication."""
        return cls.options_type()

    def __init__(self, options: Options | None = None) -> None:
        """Keeps the options."""
        self.options = options if options is not None else cast("Options", self.options_type())

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a head from vectors ``[B, in_features]`` to a :class:`~arbex.models.head.Balance`.

        Methods without a head of their own have a linear classifier. Heads without anchors ignore ``anchors``.
        """
        return LinearHead(in_features, num_classes)

    def build_regions(self) -> nn.Module | None:
        """Returns a module from images ``[B, 3, S, S]`` to regions ``[B, R, 3, S, S]``, if the method uses regions."""
        return None

    def adapt(self, settings: TrainSettings) -> TrainSettings:
        """Returns the settings with the values that the method prescribes."""
        return settings

    def set_up(self, head: nn.Module, settings: TrainSettings) -> None:
        """Applies settings to a head before training."""
        for module in head.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout

    def rates(self, head: Head, settings: TrainSettings) -> dict[nn.Parameter, float]:
        """Returns the factor of the learning rate of each parameter of the head."""
        return dict.fromkeys(head.parameters(), settings.head_rate)

    def start_epoch(self, head: nn.Module, epoch: int, settings: TrainSettings) -> None:
        """Sets what changes from epoch to epoch; ``epoch`` counts from 1."""

    def views(self, images: Tensor) -> Tensor:
        """Returns V views ``[V * B, 3, S, S]`` of augmented images ``[B, 3, S, S]``, which the model is trained on."""
        return images

    def corrected_targets(self, targets: Tensor, positions: Tensor) -> Tensor:
        """Returns targets [B, N] in which labels that the method found to be wrong are replaced."""
        return targets

    def student_outputs(self, balance: Balance, settings: TrainSettings) -> tuple[StudentOutput, ...]:
        """Returns the distributions that a teacher trains."""
        return (StudentOutput(balance.corrected, settings.lambda_class),)

    @abstractmethod
    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns weighted scalar losses by name; training minimizes their sum."""

    def describe(self, head: Head, evidence: Evidence, labels: Tensor) -> dict[str, float]:
        """Returns what a training logs of the head after each epoch, by name.

        Args:
            head: The head that is validated.
            evidence: What it computed of n validation images.
            labels: Position of each image's class ``[n]``.
        """
        return {}

    def state(self) -> dict[str, Tensor]:
        """Returns the state that a resumed training restores."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what ``state`` returned."""


def flipped(images: Tensor) -> Tensor:
    """Returns images ``[B, 3, S, S]`` mirrored left to right."""
    return torch.flip(images, dims=(3,))
