"""ARBEx: reliability balancing with class, anchor and center losses (section 3.5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from arbex.checks import check_range
from arbex.methods.base import Method, MethodOptions, StudentOutput, TrainingBatch, cross_entropy
from arbex.models.head import EMBEDDING, RADIUS, Balance, ReliabilityHead, check_tokens
from arbex.settings import TrainSettings


def anchor_distances(anchors: Tensor) -> Tensor:
    """Returns the squared distances ``[P]`` between anchors ``[N, K, D]`` of different classes."""
    classes, per_class, dim = anchors.shape
    flat = anchors.reshape(-1, dim)  # [N*K, D]
    label = torch.arange(classes, device=anchors.device).repeat_interleave(per_class)
    squared = (flat[:, None] - flat[None, :]).square().sum(-1)  # [N*K, N*K]
    return squared[label[:, None] != label[None, :]]


def anchor_loss(anchors: Tensor, *, bounded: bool) -> Tensor:
    """Returns the loss that pushes anchors of different classes apart.

    Args:
        anchors: ``[N, K, D]``.
        bounded: ``False`` is the form as printed, minus the mean squared distance divided by D, which has no lower
            bound. ``True`` is the mean of ``max(0, 1 - d^2 / 2D)``, in [0, 1]: it pushes no farther than the usual
            distance of independent standard normal vectors.
    """
    dim = anchors.shape[-1]
    squared = anchor_distances(anchors)
    if bounded:
        return (1 - squared / (2 * dim)).clamp_min(0).mean()
    return -squared.mean() / dim


def center_loss(distances: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean squared distance to the nearest anchor of the target class.

    Args:
        distances: Distances from embeddings to anchors ``[B, N, K]``.
        targets: Target distributions ``[B, N]``; their largest entry is the target class.
    """
    own = targets.argmax(-1)  # [B]
    to_own = distances[torch.arange(len(own), device=own.device), own]  # [B, K]
    return to_own.min(-1).values.square().mean()


@dataclass(frozen=True, kw_only=True)
class ReliabilityOptions(MethodOptions):
    """Options of the head that the paper leaves open.

    Attributes:
        tokens: Number of tokens that the embedding is cut into for the attentive correction.
        attention_heads: Number of heads of that attention; it must divide the width of a token.
        delta: Scale of the distances to anchors (3.4.1): the larger, the flatter the correction.
        radius: Initial length of anchors, in the unit of the distances.
    """

    tokens: int = 8
    attention_heads: int = 4
    delta: float = 1.0
    radius: float = RADIUS

    def __post_init__(self) -> None:
        """Checks every value."""
        check_range("tokens", self.tokens, 1, EMBEDDING)
        check_range("attention_heads", self.attention_heads, 1, EMBEDDING)
        check_range("delta", self.delta, 1e-3, 1e3)
        check_range("radius", self.radius, 1e-3, 1e3)
        check_tokens(EMBEDDING, self.tokens, self.attention_heads)


class Reliability(Method[ReliabilityOptions]):
    """The method of the paper: learnable anchors, attentive correction, confidence-weighted mixture."""

    name = "arbex"
    mixes = True
    anchored = True
    options_type = ReliabilityOptions

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> nn.Module:
        """Returns a reliability head with ``anchors`` anchors per class; without anchors, attention alone corrects."""
        return ReliabilityHead(in_features, num_classes, anchors, **asdict(self.options))

    def set_up(self, head: nn.Module, settings: TrainSettings) -> None:
        """Applies the dropout, and chooses which parts of the head train the encoder."""
        super().set_up(head, settings)
        assert isinstance(head, ReliabilityHead)
        head.only_anchors_train_encoder = settings.encoder_gradient == "anchors" and head.num_anchors > 0

    def student_outputs(self, balance: Balance, settings: TrainSettings) -> tuple[StudentOutput, ...]:
        """Returns the corrected distribution and, if its parts have losses of their own, the parts."""
        parts = parts_of(balance) if settings.lambda_parts else ()
        outputs = (StudentOutput(part, settings.lambda_parts) for part in parts)
        return (*super().student_outputs(balance, settings), *outputs)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the weighted class, anchor and center losses; the center loss is divided by D."""
        head, balance, targets, settings = batch.head, batch.balance, batch.targets, batch.settings
        assert isinstance(head, ReliabilityHead)
        smoothing = settings.label_smoothing
        losses = {"class": settings.lambda_class * cross_entropy(balance.corrected, targets, smoothing)}
        if head.num_anchors:
            dim = head.anchors.shape[-1]
            apart = anchor_loss(head.anchors, bounded=settings.bounded_anchor_loss)
            near = center_loss(head.distances(balance.embedding), targets) / dim
            losses |= {"anchor": settings.lambda_anchor * apart, "center": settings.lambda_center * near}
        if settings.lambda_parts:
            each = torch.stack([cross_entropy(part, targets, smoothing) for part in parts_of(balance)])
            losses["parts"] = settings.lambda_parts * each.sum()
        return losses


def parts_of(balance: Balance) -> tuple[Tensor, ...]:
    """Returns the log-distributions [B, N] that are mixed: three, or two without anchors."""
    parts = (balance.primary, balance.geometric, balance.attentive)
    return (parts[0], parts[2]) if balance.geometric is balance.attentive else parts
