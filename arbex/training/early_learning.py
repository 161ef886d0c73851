"""Early-learning regularization, against learning wrong labels by heart (Liu et al., arXiv 2007.00151)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from arbex.methods.base import StudentOutput
from arbex.settings import TrainSettings
from arbex.training.devices import gathered

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PREFIX: Final = "early_learning."
"""Prefix of the memory in the state of a training."""

LARGEST: Final = 0.9999
"""Largest agreement that counts; beyond, the loss would grow without bound."""


class EarlyLearning:
    """A memory of what a model answered to each image, and a loss that keeps its answers close to that.

    A network learns what most labels have in common before it learns single wrong ones. The moving average of its
    answers over epochs remembers that, and the loss ``log(1 - <answer, memory>)`` holds against the gradient of a label
    which contradicts it.

    Args:
        images: Number of training images.
        classes: N, the number of classes.
        weight: Weight of the loss; the publication has 3 for ten classes.
        momentum: Share of the old average in the new one, each time an image is seen; the publication has 0.7.
    """

    def __init__(self, images: int, classes: int, *, weight: float, momentum: float) -> None:
        """Starts without memories, whose loss is 0."""
        self.weight, self.momentum = weight, momentum
        self.memory = torch.zeros(images, classes)

    @classmethod
    def of(cls, settings: TrainSettings, images: int, classes: int) -> EarlyLearning | None:
        """Returns what settings ask for, which may be nothing."""
        if not settings.early_learning:
            return None
        return cls(images, classes, weight=settings.early_learning, momentum=settings.early_learning_momentum)

    @torch.no_grad()
    def remember(self, answers: Tensor, positions: Tensor) -> None:
        """Moves memories toward answers.

        Args:
            answers: Probabilities ``[B, N]``.
            positions: Positions of their images in the training split ``[B]``.
        """
        if self.memory.device != answers.device:
            self.memory = self.memory.to(answers.device)
        self.memory[positions] = self.momentum * self.memory[positions] + (1 - self.momentum) * answers

    def loss(
        self, fabric: Fabric, corrected: Tensor, positions: Tensor, outputs: Iterable[StudentOutput]
    ) -> dict[str, Tensor]:
        """Remembers the answers to B images in V views, and returns the weighted loss of all distributions.

        Args:
            fabric: Gathers answers of all processes, which see other images.
            corrected: Log-probabilities ``[V * B, N]`` of the answers, all images in the first view first.
            positions: Positions of the images in the training split ``[B]``.
            outputs: The distributions that are held to the memory, ``[V * B, N]`` each.
        """
        answers = corrected.detach().exp().reshape(-1, len(positions), corrected.shape[-1]).mean(0)  # [B, N]
        self.remember(gathered(fabric, answers), gathered(fabric, positions))
        wanted = self.memory[positions].repeat(len(corrected) // len(positions), 1)  # [V * B, N]
        each = [output.weight * against(output.log_p, wanted) for output in outputs]
        return {"early_learning": self.weight * torch.stack(each).sum()}

    def state(self) -> dict[str, Tensor]:
        """Returns the memory, by name."""
        return {f"{PREFIX}memory": self.memory}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what ``state`` returned."""
        self.memory = state[f"{PREFIX}memory"].clone()


def against(log_p: Tensor, wanted: Tensor) -> Tensor:
    """Returns the mean of ``log(1 - <p, wanted>)`` for log-probabilities ``[B, N]`` and probabilities ``[B, N]``."""
    agreement = (log_p.exp() * wanted).sum(-1)  # [B]
    return torch.log1p(-agreement.clamp(max=LARGEST)).mean()
