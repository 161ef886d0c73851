"""What every method offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from arbex.models.head import Balance
from arbex.training.settings import TrainSettings


def cross_entropy(log_p: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Returns the mean cross-entropy of log-probabilities [B, N] with smoothed targets [B, N]."""
    smooth = (1 - smoothing) * targets + smoothing / targets.shape[-1]
    return -(smooth * log_p).sum(-1).mean()


class Answer(NamedTuple):
    """A distribution that learns classes.

    Attributes:
        log_p: Log-probabilities [B, N].
        weight: Of its loss.
    """

    log_p: Tensor
    weight: float


class Method(ABC):
    """A way to train: the head it needs and the loss it minimises."""

    name: str

    @abstractmethod
    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> nn.Module:
        """Returns a head from vectors ``[B, in_features]`` to a :class:`~arbex.models.head.Balance`."""

    def set_up(self, head: nn.Module, settings: TrainSettings) -> None:
        """Applies settings to a head before training."""
        for module in head.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout

    def answers(self, balance: Balance, settings: TrainSettings) -> tuple[Answer, ...]:
        """Returns the distributions that a teacher shows its own answers to."""
        return (Answer(balance.corrected, settings.lambda_class),)

    @abstractmethod
    def losses(self, head: nn.Module, balance: Balance, targets: Tensor, settings: TrainSettings) -> dict[str, Tensor]:
        """Returns weighted scalar losses by name; their sum is minimised.

        Args:
            head: The head that ``build_head`` returned.
            balance: What it made of a batch.
            targets: float32 [B, N], rows summing to 1.
            settings: Weights and smoothing.
        """
