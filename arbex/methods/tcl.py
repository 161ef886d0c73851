"""TCL: triplet-center loss with three choices of negatives and selective attention (arXiv 2302.04108).

The formulas of the publication were not available: this is the project's reading of its abstract.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.checks import check_choice, check_range
from arbex.methods.base import Method, MethodOptions, TrainingBatch, primary_loss, strongest_other
from arbex.models.head import Evidence, Head

NEGATIVES = ("predicted", "semi-synthesized", "synthesized", "nearest")


SMALLEST_GATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class TclOptions(MethodOptions):
    """Options of TCL.

    Attributes:
        negatives: Choice of negatives: ``predicted`` takes the center of the strongest wrong class; ``synthesized``
            takes, in each dimension, the nearest coordinate of the centers of wrong classes; ``semi-synthesized`` takes
            some dimensions from the first and the others from the second. ``nearest`` is the original triplet-center
            loss (He et al., CVPR 2018): the wrong class whose center is nearest.
        predicted_share: Share of the dimensions, from the first on, that ``semi-synthesized`` takes from ``predicted``.
        margin: Margin by which the negative must be farther away, in the unit of the squared distance.
        triplet_weight: Weight of the triplet-center loss.
        attention: Whether selective attention weights the distances.
    """

    negatives: str = "predicted"
    predicted_share: float = 0.5
    margin: float = 5.0
    triplet_weight: float = 0.1
    attention: bool = True

    def __post_init__(self) -> None:
        """Checks every value."""
        check_choice("negatives", self.negatives, NEGATIVES)
        check_range("predicted_share", self.predicted_share, 0.0, 1.0)
        check_range("margin", self.margin, 0.0, 1e6)
        check_range("triplet_weight", self.triplet_weight, 0.0, 1e6)


class CenterHead(Head):
    """A linear classifier; training uses a center for each class and attention over dimensions as well."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.classify = nn.Linear(in_features, num_classes)
        self.centers = nn.Parameter(torch.randn(num_classes, in_features))
        self.gate_dimensions = nn.Linear(in_features, in_features)
        self.gate_places = nn.Linear(in_features, 1)

    def attention(self, features: Tensor, maps: Tensor | None) -> Tensor:
        """Returns the weight of each dimension ``[B, D]``, whose mean is 1 so that margins keep their meaning.

        The element-wise gate is predicted from the vector, the spatial gate from each place of the last feature map;
        a dimension has the gates of the places where it is active. Without a map of width D, the first gate is used
        alone.

        Args:
            features: ``[B, D]``.
            maps: ``[B, T, F]``, or None for a backbone without such a map.
        """
        gate = torch.sigmoid(self.gate_dimensions(features))  # [B, D]
        if maps is not None and maps.shape[-1] == features.shape[-1]:
            places = torch.sigmoid(self.gate_places(maps))  # [B, T, 1]
            gate = gate * (places * maps.softmax(dim=1)).sum(1)
        return gate / gate.mean(-1, keepdim=True).clamp_min(SMALLEST_GATE)

    def evidence(self, features: Tensor) -> Evidence:
        """Returns the logits, and the vectors as embedding."""
        return Evidence(self.classify(features), features)


def nearest_coordinates(features: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Returns the nearest coordinate of the centers of wrong classes in each dimension, ``[B, D]``.

    Args:
        features: ``[B, D]``.
        centers: ``[N, D]``.
        labels: ``[B]``.
    """
    away = (features[:, None] - centers).abs()  # [B, N, D]
    away = away.scatter(1, labels[:, None, None].expand(-1, 1, away.shape[2]), float("inf"))
    return centers.gather(0, away.argmin(1))


def choose_negatives(features: Tensor, centers: Tensor, log_p: Tensor, labels: Tensor, options: TclOptions) -> Tensor:
    """Returns the negative of each sample ``[B, D]``, as the options choose it."""
    predicted = centers[strongest_other(log_p, labels)]
    if options.negatives == "predicted":
        return predicted
    if options.negatives == "nearest":
        away = (features[:, None] - centers).square().sum(-1)  # [B, N]
        return centers[strongest_other(-away, labels)]
    synthesized = nearest_coordinates(features, centers, labels)
    if options.negatives == "synthesized":
        return synthesized
    count = round(options.predicted_share * features.shape[1])
    return torch.cat([predicted[:, :count], synthesized[:, count:]], dim=1)


def half_squared(a: Tensor, b: Tensor, weight: Tensor | float) -> Tensor:
    """Returns half the weighted squared distance of vectors ``[B, D]``, as ``[B]``."""
    return 0.5 * (weight * (a - b).square()).sum(-1)


class TripletCenter(Method[TclOptions]):
    """Training with cross-entropy and triplet-center loss."""

    name = "tcl"
    options_type = TclOptions

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a head with centers."""
        return CenterHead(in_features, num_classes)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the classification loss and the triplet-center loss."""
        head, features, labels = batch.head, batch.balance.embedding, batch.labels
        assert isinstance(head, CenterHead)
        weight: Tensor | float = head.attention(features, batch.maps) if self.options.attention else 1.0
        negatives = choose_negatives(features, head.centers, batch.balance.primary.detach(), labels, self.options)
        own, other = (half_squared(features, c, weight) for c in (head.centers[labels], negatives))
        return {
            "class": primary_loss(batch),
            "triplet": self.options.triplet_weight * F.relu(own + self.options.margin - other).mean(),
        }
