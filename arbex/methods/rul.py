"""RUL: uncertainty learned by comparison (Zhang, Wang, Deng, Relative Uncertainty Learning, NeurIPS 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.methods.base import Method, MethodOptions, TrainingBatch, cross_entropy
from arbex.models.head import Evidence, Head, log_softmax

WIDTH = 64
"""Width of the vectors that are mixed."""


class UncertaintyHead(Head):
    """A linear classifier on a mean vector; training uses an uncertainty vector as well."""

    def __init__(self, in_features: int, num_classes: int, width: int = WIDTH) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.mean = nn.Linear(in_features, width)
        self.deviation = nn.Linear(in_features, width)
        self.classify = nn.Linear(width, num_classes)

    def uncertainty(self, features: Tensor) -> Tensor:
        """Returns positive uncertainties ``[B, width]`` of vectors ``[B, in_features]``."""
        return F.softplus(self.deviation(features))

    def evidence(self, features: Tensor) -> Evidence:
        """Returns the logits, and the vectors as embedding."""
        return Evidence(self.classify(self.mean(features)), features)


def mix(mean: Tensor, uncertainty: Tensor, partner: Tensor) -> Tensor:
    """Returns mixtures ``[B, D]`` of each vector with its partner, weighted by relative uncertainty.

    The less certain of the two has the larger share. Only then are both labels recognizable in the mixture, which is
    what trains the uncertainties.

    Args:
        mean: Vectors ``[B, D]``.
        uncertainty: Positive uncertainties ``[B, D]``.
        partner: Position of each vector's partner ``[B]``.
    """
    share = uncertainty / (uncertainty + uncertainty[partner])
    return share * mean + (1 - share) * mean[partner]


class RelativeUncertainty(Method[MethodOptions]):
    """Pairs of images are mixed by their relative uncertainty; the mixture is trained on both labels."""

    name = "rul"

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a head with uncertainties."""
        return UncertaintyHead(in_features, num_classes)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the sum of the cross-entropies of the mixtures with both labels."""
        head, features = batch.head, batch.balance.embedding
        assert isinstance(head, UncertaintyHead)
        partner = torch.randperm(len(features)).to(features.device)
        mixture = mix(head.mean(features), head.uncertainty(features), partner)
        log_p = log_softmax(head.classify(mixture))
        smoothing = batch.settings.label_smoothing
        both = cross_entropy(log_p, batch.targets, smoothing), cross_entropy(log_p, batch.targets[partner], smoothing)
        return {"class": both[0] + both[1]}
