"""RUL: uncertainty learned by comparison (Zhang, Wang, Deng, Relative Uncertainty Learning, NeurIPS 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.methods.base import Lesson, Method, MethodOptions, cross_entropy
from arbex.models.head import Balance, log_softmax, uncorrected

WIDTH = 64
"""Of the vector that is mixed."""


class UncertaintyHead(nn.Module):
    """A linear classifier on a mean vector; training knows of a standard deviation too."""

    def __init__(self, in_features: int, num_classes: int, width: int = WIDTH) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.mean = nn.Linear(in_features, width)
        self.deviation = nn.Linear(in_features, width)
        self.classify = nn.Linear(width, num_classes)

    def uncertainty(self, features: Tensor) -> Tensor:
        """Returns positive uncertainties ``[B, width]`` of vectors ``[B, in_features]``."""
        return F.softplus(self.deviation(features))

    def forward(self, features: Tensor) -> Balance:
        """Maps vectors ``[B, in_features]`` to a balance whose four distributions are one; its embedding is theirs."""
        features = features.float()
        return uncorrected(self.classify(self.mean(features)), features)


def mix(mean: Tensor, uncertainty: Tensor, partner: Tensor) -> Tensor:
    """Returns mixtures ``[B, D]`` of each vector with another, weighted by relative uncertainty.

    The less certain of the two has the larger share: only so can both labels be read from the mixture, and to have
    them read is what the uncertainties learn from.

    Args:
        mean: ``[B, D]``.
        uncertainty: Positive, ``[B, D]``.
        partner: Position of the other ``[B]``.
    """
    share = uncertainty / (uncertainty + uncertainty[partner])
    return share * mean + (1 - share) * mean[partner]


class RelativeUncertainty(Method[MethodOptions]):
    """Pairs of images are mixed by their relative uncertainty, and the mixture has both labels."""

    name = "rul"

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> nn.Module:
        """Returns the head; ``anchors`` has no meaning here."""
        return UncertaintyHead(in_features, num_classes)

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns the cross-entropy of mixtures with either label."""
        head, features = lesson.head, lesson.balance.embedding
        assert isinstance(head, UncertaintyHead)
        partner = torch.randperm(len(features)).to(features.device)
        mixture = mix(head.mean(features), head.uncertainty(features), partner)
        log_p = log_softmax(head.classify(mixture))
        smoothing = lesson.settings.label_smoothing
        both = cross_entropy(log_p, lesson.targets, smoothing), cross_entropy(log_p, lesson.targets[partner], smoothing)
        return {"class": both[0] + both[1]}
