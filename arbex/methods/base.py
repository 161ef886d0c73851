"""What every method offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from arbex.models.head import Balance, LinearHead
from arbex.settings import TrainSettings


def cross_entropies(log_p: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Returns the cross-entropy [B] of log-probabilities [B, N] with smoothed targets [B, N]."""
    smooth = (1 - smoothing) * targets + smoothing / targets.shape[-1]
    return -(smooth * log_p).sum(-1)


def cross_entropy(log_p: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Returns the mean cross-entropy of log-probabilities [B, N] with smoothed targets [B, N]."""
    return cross_entropies(log_p, targets, smoothing).mean()


def strongest_other(values: Tensor, labels: Tensor) -> Tensor:
    """Returns the class of the largest value [B, N] that is not the given label [B], as [B]."""
    return values.scatter(1, labels[:, None], float("-inf")).argmax(1)


class Answer(NamedTuple):
    """A distribution that learns classes.

    Attributes:
        log_p: Log-probabilities [B, N].
        weight: Of its loss.
    """

    log_p: Tensor
    weight: float


@dataclass(frozen=True)
class Lesson:
    """What a method sees of a training step, for B images in V views each.

    Attributes:
        head: The head that ``build_head`` returned.
        balance: What it made of the views, V * B rows: all images in the first view, then all in the second.
        targets: float32 [B, N], rows summing to 1.
        settings: Weights and smoothing.
        positions: Which images of the training split they are, [B].
        epoch: Number of the epoch, from 1.
        maps: The encoder's last feature map as tokens [V * B, T, D], where it has one.
        features: What the head saw: [V * B, D], or [V * B, R, D] where images are cut into regions.
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
        """The largest target's class [B]."""
        return self.targets.argmax(-1)


def primary_loss(lesson: Lesson) -> Tensor:
    """Returns the mean cross-entropy of the primary distribution, for methods that train it alone."""
    return cross_entropy(lesson.balance.primary, lesson.targets, lesson.settings.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Options of a method by name. This class itself serves methods that have none."""

    def to_json(self) -> dict[str, Any]:
        """Returns the options as a dictionary."""
        return asdict(self)


Options = TypeVar("Options", bound=MethodOptions)


class Method(ABC, Generic[Options]):
    """A way to train: the head it needs, the loss it minimizes, and what it remembers.

    Args:
        options: Its options; by default those of its publication.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    needs_teacher: ClassVar[bool] = False
    """Whether it learns from another run's answers, and from nothing without them."""

    def __init__(self, options: Options | None = None) -> None:
        """Keeps the options."""
        self.options = options if options is not None else cast("Options", self.options_type())

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> nn.Module:
        """Returns a head from vectors ``[B, in_features]`` to a :class:`~arbex.models.head.Balance`.

        It is a linear classifier unless a method has a head of its own. Only a head with anchors reads ``anchors``.
        """
        return LinearHead(in_features, num_classes)

    def build_regions(self) -> nn.Module | None:
        """Returns a module from images ``[B, 3, S, S]`` to regions ``[B, R, 3, S, S]``, for a method that has them."""
        return None

    def adapt(self, settings: TrainSettings) -> TrainSettings:
        """Returns the settings that a run of this method has, whatever was asked for."""
        return settings

    def set_up(self, head: nn.Module, settings: TrainSettings) -> None:
        """Applies settings to a head before training."""
        for module in head.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout

    def views(self, images: Tensor) -> Tensor:
        """Returns what the model sees of augmented images ``[B, 3, S, S]``: V views each, ``[V * B, 3, S, S]``."""
        return images

    def corrected_targets(self, targets: Tensor, positions: Tensor) -> Tensor:
        """Returns the targets [B, N] that a method trains on where it has found labels to be wrong."""
        return targets

    def answers(self, balance: Balance, settings: TrainSettings) -> tuple[Answer, ...]:
        """Returns the distributions that a teacher shows its own answers to."""
        return (Answer(balance.corrected, settings.lambda_class),)

    @abstractmethod
    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns weighted scalar losses by name; their sum is minimized."""

    def state(self) -> dict[str, Tensor]:
        """Returns what it has to remember when training is resumed."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remembers what ``state`` returned."""


def flipped(images: Tensor) -> Tensor:
    """Returns images ``[B, 3, S, S]`` mirrored left to right."""
    return torch.flip(images, dims=(3,))
