"""TCL: triplet-center loss with three choices of negatives and selective attention (arXiv 2302.04108).

The publication's formulas were not available: this is the project's reading of its abstract and of what is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.checks import check_choice, check_range
from arbex.methods.base import Lesson, Method, MethodOptions, primary_loss, strongest_other
from arbex.models.head import Balance, uncorrected

NEGATIVES = ("predicted", "semi-synthesized", "synthesized")


@dataclass(frozen=True, kw_only=True)
class TclOptions(MethodOptions):
    """Options of TCL.

    Attributes:
        negatives: ``predicted`` takes the center of the strongest wrong class; ``synthesized`` takes, for each
            dimension, the coordinate of that wrong class's center which is nearest; ``semi-synthesized`` takes some
            dimensions from the first and the others from the second.
        predicted_share: How many dimensions that is.
        margin: By how much the negative must be farther away, in the unit of the squared distance.
        triplet_weight: Weight of the loss.
        attention: Weight the distance by selective attention.
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


class CenterHead(nn.Module):
    """A linear classifier; training knows of a center for each class and of attention over dimensions."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.classify = nn.Linear(in_features, num_classes)
        self.centers = nn.Parameter(torch.randn(num_classes, in_features))
        self.gate_dimensions = nn.Linear(in_features, in_features)
        self.gate_places = nn.Linear(in_features, 1)

    def attention(self, features: Tensor, maps: Tensor | None) -> Tensor:
        """Returns how much each dimension counts, in [0, 1].

        The element-wise gate looks at the vector. The spatial gate looks at every place of the last feature map; a
        dimension gets the gates of the places where it is active.

        Args:
            features: ``[B, D]``.
            maps: ``[B, T, D]``, or nothing for a backbone without such a map, or with one of another width.
        """
        gate = torch.sigmoid(self.gate_dimensions(features))  # [B, D]
        if maps is None or maps.shape[-1] != features.shape[-1]:
            return gate
        places = torch.sigmoid(self.gate_places(maps))  # [B, T, 1]
        return gate * (places * maps.softmax(dim=1)).sum(1)

    def forward(self, features: Tensor) -> Balance:
        """Maps vectors ``[B, in_features]`` to a balance whose four distributions are one."""
        features = features.float()
        return uncorrected(self.classify(features), features)


def nearest_coordinates(features: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Returns, for each dimension, the nearest coordinate of the centers of wrong classes, ``[B, D]``.

    Args:
        features: ``[B, D]``.
        centers: ``[N, D]``.
        labels: ``[B]``.
    """
    away = (features[:, None] - centers).abs()  # [B, N, D]
    away = away.scatter(1, labels[:, None, None].expand(-1, 1, away.shape[2]), float("inf"))
    return centers.gather(0, away.argmin(1))


def choose_negatives(features: Tensor, centers: Tensor, log_p: Tensor, labels: Tensor, options: TclOptions) -> Tensor:
    """Returns the negative of each sample, ``[B, D]``, as the options say."""
    predicted = centers[strongest_other(log_p, labels)]
    if options.negatives == "predicted":
        return predicted
    synthesized = nearest_coordinates(features, centers, labels)
    if options.negatives == "synthesized":
        return synthesized
    count = round(options.predicted_share * features.shape[1])
    return torch.cat([predicted[:, :count], synthesized[:, count:]], dim=1)


def half_squared(a: Tensor, b: Tensor, weight: Tensor | float) -> Tensor:
    """Returns half the weighted squared distance of vectors ``[B, D]``, as ``[B]``."""
    return 0.5 * (weight * (a - b).square()).sum(-1)


class TripletCenter(Method[TclOptions]):
    """Cross-entropy and triplet-center loss."""

    name = "tcl"
    options_type = TclOptions

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> nn.Module:
        """Returns the head; ``anchors`` has no meaning here."""
        return CenterHead(in_features, num_classes)

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns classification and triplet loss."""
        head, features, labels = lesson.head, lesson.balance.embedding, lesson.labels
        assert isinstance(head, CenterHead)
        weight: Tensor | float = head.attention(features, lesson.maps) if self.options.attention else 1.0
        negatives = choose_negatives(features, head.centers, lesson.balance.primary.detach(), labels, self.options)
        own, other = (half_squared(features, c, weight) for c in (head.centers[labels], negatives))
        return {
            "class": primary_loss(lesson),
            "triplet": self.options.triplet_weight * F.relu(own + self.options.margin - other).mean(),
        }
