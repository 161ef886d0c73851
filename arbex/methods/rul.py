"""RUL: uncertainty learned by comparison (Zhang, Wang, Deng, Relative Uncertainty Learning, NeurIPS 2021).

As in its authors' code, two branches of batch norm, dropout, linear layer and batch norm give a mean vector and a
logarithm of uncertainty. There, they read the last feature map; here, the vector of the encoder, whatever that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arbex.checks import check_range
from arbex.methods.base import Method, MethodOptions, TrainingBatch, cross_entropy
from arbex.models.distributions import log_softmax
from arbex.models.head import Evidence, Head
from arbex.settings import TrainSettings

WIDTH = 64
"""Width of the vectors that are mixed."""

NORM_EPSILON = 2e-5


@dataclass(frozen=True, kw_only=True)
class RulOptions(MethodOptions):
    """Options of RUL; the defaults are the publication's but for the rate.

    Attributes:
        branch_dropout: Dropout probability in both branches.
        classifier_rate: Factor of the learning rate of the classifier. The publication has 10, for a pretrained
            backbone that learns at 2e-4.
    """

    branch_dropout: float = 0.4
    classifier_rate: float = 1.0

    def __post_init__(self) -> None:
        """Checks every value."""
        check_range("branch_dropout", self.branch_dropout, 0.0, 0.99)
        check_range("classifier_rate", self.classifier_rate, 1e-3, 1e3)


def make_branch(in_features: int, width: int) -> nn.Sequential:
    """Returns a branch from vectors ``[B, in_features]`` to ``[B, width]``."""
    before = nn.BatchNorm1d(in_features, eps=NORM_EPSILON)
    before.requires_grad_(False)  # it has no scale and no offset of its own
    linear, after = nn.Linear(in_features, width), nn.BatchNorm1d(width, eps=NORM_EPSILON)
    return nn.Sequential(before, nn.Dropout(), linear, after)


class UncertaintyHead(Head):
    """A linear classifier on a mean vector, which is the embedding; training uses an uncertainty as well."""

    def __init__(self, in_features: int, num_classes: int, width: int = WIDTH) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.mean = make_branch(in_features, width)
        self.log_uncertainty = make_branch(in_features, width)
        self.classify = nn.Linear(width, num_classes)

    def uncertainty(self, features: Tensor) -> Tensor:
        """Returns the positive uncertainty of vectors ``[B, in_features]``, as ``[B, 1]``."""
        values: Tensor = self.log_uncertainty(features.float())
        return values.exp().mean(1, keepdim=True)

    def evidence(self, features: Tensor) -> Evidence:
        """Returns the logits, and the mean vectors as embedding."""
        mean = self.mean(features)
        return Evidence(self.classify(mean), mean)


def mix(mean: Tensor, uncertainty: Tensor, partner: Tensor) -> Tensor:
    """Returns mixtures ``[B, D]`` of each vector with its partner, weighted by relative uncertainty.

    The less certain of the two has the larger share. Only then are both labels recognizable in the mixture, which is
    what trains the uncertainties.

    Args:
        mean: Vectors ``[B, D]``.
        uncertainty: Positive uncertainties ``[B, 1]``.
        partner: Position of each vector's partner ``[B]``.
    """
    share = uncertainty / (uncertainty + uncertainty[partner])
    return share * mean + (1 - share) * mean[partner]


class RelativeUncertainty(Method[RulOptions]):
    """Pairs of images are mixed by their relative uncertainty; the mixture is trained on both labels."""

    name = "rul"
    options_type = RulOptions

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a head with uncertainties."""
        return UncertaintyHead(in_features, num_classes)

    def set_up(self, head: nn.Module, settings: TrainSettings) -> None:
        """Applies the dropout of the branches."""
        for module in head.modules():
            if isinstance(module, nn.Dropout):
                module.p = self.options.branch_dropout

    def rates(self, head: Head, settings: TrainSettings) -> dict[nn.Parameter, float]:
        """Returns the factor of the learning rate of each parameter of the head."""
        assert isinstance(head, UncertaintyHead)
        own = dict.fromkeys(head.classify.parameters(), settings.head_rate * self.options.classifier_rate)
        return super().rates(head, settings) | own

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the mean of the cross-entropies of the mixtures with both labels."""
        head, mean = batch.head, batch.balance.embedding
        assert isinstance(head, UncertaintyHead)
        assert batch.features is not None
        partner = torch.randperm(len(mean)).to(mean.device)
        mixture = mix(mean, head.uncertainty(batch.features), partner)
        log_p = log_softmax(head.classify(mixture))
        smoothing = batch.settings.label_smoothing
        both = (cross_entropy(log_p, targets, smoothing) for targets in (batch.targets, batch.targets[partner]))
        return {"class": torch.stack(list(both)).mean()}
