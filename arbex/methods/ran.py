"""RAN: attention among regions of a face (Wang et al., Region Attention Networks, TIP 2020).

In the publication, the weight of a region is a sigmoid, relative to the sum over regions. Its authors' code takes the
softmax of the sigmoids over regions instead, which hardly lets them differ, and holds the margin against that. Both
forms are here; the code's crops for FER+ are cut before training and not published.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.checks import check_choice, check_range
from arbex.methods.base import Method, MethodOptions, TrainingBatch, primary_loss
from arbex.models.head import Evidence, Head

CROPS = (
    # size, left and top as shares of the side
    (0.75, 0.0, 0.0),
    (0.75, 0.25, 0.0),
    (0.75, 0.125, 0.25),
    (0.9, 0.05, 0.05),
    (0.85, 0.075, 0.075),
)
"""Fixed positions of the publication: both upper corners, the middle of the lower edge, and two around the center."""


FORMS = ("paper", "code")


@dataclass(frozen=True, kw_only=True)
class RanOptions(MethodOptions):
    """Options of RAN; the defaults are the publication's.

    Attributes:
        form: Form of the attention: ``paper`` or ``code``.
        region_margin: Margin by which the best crop must outweigh the whole face (its ``alpha``). The code has .1 for
            FER+, and .02 or .03 for AffectNet.
        region_weight: Weight of the region loss.
    """

    form: str = "paper"
    region_margin: float = 0.02
    region_weight: float = 1.0

    def __post_init__(self) -> None:
        """Checks every value."""
        check_choice("form", self.form, FORMS)
        check_range("region_margin", self.region_margin, 0.0, 1.0)
        check_range("region_weight", self.region_weight, 0.0, 1e6)


class Regions(nn.Module):
    """Cuts each image into regions and scales them to the size of the image; the whole face is the first."""

    count = 1 + len(CROPS)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``[B, 3, S, S]`` to ``[B, R, 3, S, S]``."""
        side = images.shape[-1]
        regions = [images]
        for share, left, top in CROPS:
            size, x, y = round(share * side), round(left * side), round(top * side)
            crop = images[:, :, y : y + size, x : x + size]
            regions.append(F.interpolate(crop, size=(side, side), mode="bilinear", align_corners=False))
        return torch.stack(regions, dim=1)


def log_sigmoid(z: Tensor) -> Tensor:
    """Returns ``log(sigmoid(z))``, which is precise for every ``z``, by operators that all runtimes have."""
    return -F.relu(-z) - (1 + (-torch.maximum(z, -z)).exp()).log()


class RegionHead(Head):
    """Self-attention and relation-attention over the vectors of regions, and a linear classifier."""

    def __init__(self, in_features: int, num_classes: int, form: str = "paper") -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.form = form
        self.attend = nn.Linear(in_features, 1)
        self.relate = nn.Linear(2 * in_features, 1)
        self.classify = nn.Linear(2 * in_features, num_classes)

    def weights(self, features: Tensor) -> Tensor:
        """Returns the self-attention of regions ``[B, R, in_features]``, as ``[B, R, 1]`` in [0, 1]."""
        weights = torch.sigmoid(self.attend(features))
        return weights.softmax(1) if self.form == "code" else weights

    def summary(self, features: Tensor) -> Tensor:
        """Returns one vector per image ``[B, 2 in_features]`` for regions ``[B, R, in_features]``.

        Weights count relative to each other, and all of them may be small. A softmax of their logarithms keeps the
        precision that runtimes' sigmoids lack near zero. In the form of the code, sigmoids are logarithms of weights.
        """
        logarithm = torch.sigmoid if self.form == "code" else log_sigmoid
        own = logarithm(self.attend(features))  # [B, R, 1]
        whole = (own.softmax(1) * features).sum(1, keepdim=True)  # [B, 1, F]
        joined = torch.cat([features, whole.expand_as(features)], dim=-1)  # [B, R, 2F]
        both = own + logarithm(self.relate(joined))
        return (both.softmax(1) * joined).sum(1)

    def evidence(self, features: Tensor) -> Evidence:
        """Returns the logits for regions ``[B, R, in_features]``, and their summary as embedding."""
        summary = self.summary(features)
        return Evidence(self.classify(summary), summary)


def region_loss(weights: Tensor, margin: float) -> Tensor:
    """Returns the mean of ``max(0, margin - (weight of the best crop - weight of the whole face))``.

    Args:
        weights: ``[B, R]``, the whole face first.
        margin: Margin by which the best crop must outweigh the whole face.
    """
    return F.relu(margin - (weights[:, 1:].amax(1) - weights[:, 0])).mean()


class RegionAttention(Method[RanOptions]):
    """The encoder runs on six regions of every image, which costs six times as much, on the device too."""

    name = "ran"
    options_type = RanOptions

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a head with attention among regions."""
        return RegionHead(in_features, num_classes, self.options.form)

    def build_regions(self) -> nn.Module:
        """Returns the module that cuts images into regions."""
        return Regions()

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the classification loss and the region loss."""
        assert isinstance(batch.head, RegionHead)
        assert batch.features is not None
        weights = batch.head.weights(batch.features).squeeze(-1)
        return {
            "class": primary_loss(batch),
            "region": self.options.region_weight * region_loss(weights, self.options.region_margin),
        }
