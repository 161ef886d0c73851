"""ARBEx: reliability balancing with class, anchor and center losses (section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arbex.checks import check_choice, check_range
from arbex.errors import InputError
from arbex.methods.base import Method, MethodOptions, StudentOutput, TrainingBatch, cross_entropy
from arbex.methods.head_statistics import anchor_movement, describe_parts
from arbex.models.head import (
    CORRECTIONS,
    EMBEDDING,
    HIDDEN,
    RADIUS,
    WEIGHTS,
    Balance,
    Evidence,
    Head,
    ReliabilityHead,
    check_tokens,
)
from arbex.settings import FROM_RANDOM_WEIGHTS, TrainSettings

PAIRS = ("classes", "all")
"""Which anchors the anchor loss pushes apart: those of different classes, or all."""


def squared_distances(anchors: Tensor, pairs: str = "classes") -> Tensor:
    """Returns the squared distances ``[P]`` between anchors ``[N, K, D]`` of different classes, or of all pairs.

    All pairs are those of 3.5, whose sums over i, j, k and l hold each pair twice, and each anchor with itself.
    """
    classes, per_class, dim = anchors.shape
    flat = anchors.reshape(-1, dim)  # [N*K, D]
    squared = (flat[:, None] - flat[None, :]).square().sum(-1)  # [N*K, N*K]
    if pairs == "all":
        return squared.flatten()
    label = torch.arange(classes, device=anchors.device).repeat_interleave(per_class)
    return squared[label[:, None] != label[None, :]]


def anchor_loss(anchors: Tensor, *, bounded: bool, pairs: str = "classes") -> Tensor:
    """Returns the loss that pushes anchors apart.

    Args:
        anchors: ``[N, K, D]``.
        bounded: ``False`` is minus the mean squared distance divided by D, which has no lower bound; over ``all`` pairs
            it is the form as printed. ``True`` is the mean of ``max(0, 1 - d^2 / 2D)``, in [0, 1]: it pushes no farther
            than the usual distance of independent standard normal vectors.
        pairs: ``classes`` for anchors of different classes, ``all`` for every pair.
    """
    dim = anchors.shape[-1]
    squared = squared_distances(anchors, pairs)
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


SHARED = (
    *("tokens", "attention_heads", "hidden", "delta", "radius"),
    *("correction", "weights", "weights_gradient"),
)
"""Options that are arguments of the head, too."""

CHOICES = {
    "anchor_start": ("clustered", "spread"),
    "anchor_pairs": PAIRS,
    "correction": CORRECTIONS,
    "weights": WEIGHTS,
    "trust": ("full", "ramp"),
}
"""Allowed values of each option that is a word."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityOptions(MethodOptions):
    """Options of the head that the paper leaves open.

    Attributes:
        tokens: Number of tokens that the embedding is cut into for the attentive correction (3.4.2).
        attention_heads: Number of heads of that attention; it must divide the width of a token.
        hidden: Width of the two hidden layers of the primary classifier (3.3); with 0, which is usual for the presets
            that start from random weights, it is linear.
        delta: Scale of the distances to anchors (3.4.1): the larger, the flatter the correction.
        radius: Initial length of anchors, in the unit of the distances.
        anchor_start: Where anchors start: ``clustered`` around one direction per class, or each ``spread`` on its own.
        anchor_pairs: Which anchors the anchor loss pushes apart: those of different ``classes``, or ``all`` of them, as
            3.5 prints it.
        correction: Which corrections there are: ``both`` (3.4.3), ``anchors``, ``attention`` or ``none``. With none,
            the corrected distribution is the primary one; that is the paper's K = 0.
        weights: How the distributions are mixed: by ``confidence`` (3.4.3), or with ``equal`` weights.
        weights_gradient: Whether the weights by confidence have a gradient, of which the paper says nothing.
        anchor_rate: Factor of the learning rate of anchors.
        trust: How much the correction counts while training: ``full``, or a ``ramp`` that grows in equal steps to full
            trust in the last epoch. In the authors' code, it grows with every iteration.
    """

    tokens: int = 8
    attention_heads: int = 4
    hidden: int = HIDDEN
    delta: float = 1.0
    radius: float = RADIUS
    anchor_start: str = "clustered"
    anchor_pairs: str = "classes"
    correction: str = "both"
    weights: str = "confidence"
    weights_gradient: bool = False
    anchor_rate: float = 1.0
    trust: str = "full"

    def __post_init__(self) -> None:
        """Checks every value."""
        check_range("tokens", self.tokens, 1, EMBEDDING)
        check_range("attention_heads", self.attention_heads, 1, EMBEDDING)
        check_range("hidden", self.hidden, 0, 10**4)
        check_range("delta", self.delta, 1e-3, 1e3)
        check_range("radius", self.radius, 1e-3, 1e3)
        check_range("anchor_rate", self.anchor_rate, 1e-3, 1e3)
        for name, allowed in CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        check_tokens(EMBEDDING, self.tokens, self.attention_heads)


class Reliability(Method[ReliabilityOptions]):
    """The method of the paper: learnable anchors, attentive correction, confidence-weighted mixture."""

    name = "arbex"
    mixes = True
    anchored = True
    options_type = ReliabilityOptions

    @classmethod
    def usual_options(cls, preset: str) -> ReliabilityOptions:
        """Returns the options of the paper; presets that start from random weights have a linear primary classifier.

        Hidden layers slow the encoder's learning down (docs/decisions/0032).
        """
        return ReliabilityOptions(hidden=0) if preset in FROM_RANDOM_WEIGHTS else ReliabilityOptions()

    def __init__(self, options: ReliabilityOptions | None = None) -> None:
        """Starts without knowing where anchors start, which initial weights decide."""
        super().__init__(options)
        self.anchors_at_start: Tensor | None = None

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a reliability head with ``anchors`` anchors per class; without anchors, attention alone corrects.

        Raises:
            InputError: If there are no anchors, and they alone are to correct.
        """
        options = self.options
        if options.correction == "anchors" and not anchors:
            raise InputError(
                "anchors is 0, and correction is 'anchors': nothing would correct.",
                remedy="Give --anchors 1 or more, or choose correction=none.",
            )
        return ReliabilityHead(
            in_features,
            num_classes,
            anchors,
            **{name: getattr(options, name) for name in SHARED},
            clustered=options.anchor_start == "clustered",
        )

    def set_up(self, head: nn.Module, settings: TrainSettings) -> None:
        """Applies the dropout, and chooses which parts of the head train the encoder."""
        super().set_up(head, settings)
        assert isinstance(head, ReliabilityHead)
        head.only_anchors_train_encoder = settings.encoder_gradient == "anchors" and head.num_anchors > 0

    def rates(self, head: Head, settings: TrainSettings) -> dict[nn.Parameter, float]:
        """Returns the factor of the learning rate of each parameter of the head."""
        assert isinstance(head, ReliabilityHead)
        return super().rates(head, settings) | {head.anchors: self.options.anchor_rate}

    def start_epoch(self, head: nn.Module, epoch: int, settings: TrainSettings) -> None:
        """Sets how much the correction counts; with a ramp, it counts in full in the last epoch alone."""
        assert isinstance(head, ReliabilityHead)
        head.trust = epoch / settings.epochs if self.options.trust == "ramp" else 1.0
        if self.anchors_at_start is None:
            self.anchors_at_start = head.anchors.detach().cpu().clone()

    def describe(self, head: Head, evidence: Evidence, labels: Tensor) -> dict[str, float]:
        """Returns what each part of the head does, and how far anchors have moved."""
        assert isinstance(head, ReliabilityHead)
        found: dict[str, float] = {}
        if len(head.tempered) > 1:
            balance = head.balance(evidence, head.temperatures)
            found |= describe_parts(balance, evidence, labels, equal=head.weights == "equal")
        if head.num_anchors and self.anchors_at_start is not None:
            found |= anchor_movement(self.anchors_at_start, head.anchors.detach().cpu())
        return found

    def state(self) -> dict[str, Tensor]:
        """Returns where anchors started."""
        return {} if self.anchors_at_start is None else {"anchors_at_start": self.anchors_at_start}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores where anchors started; runs of earlier versions do not know it."""
        self.anchors_at_start = state.get("anchors_at_start")

    def student_outputs(self, balance: Balance, settings: TrainSettings) -> tuple[StudentOutput, ...]:
        """Returns the corrected distribution and, if its parts have losses of their own, the parts."""
        parts = balance.parts if settings.lambda_parts else ()
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
            pairs = self.options.anchor_pairs
            apart = anchor_loss(head.anchors, bounded=settings.bounded_anchor_loss, pairs=pairs)
            near = center_loss(head.distances(balance.embedding), targets) / dim
            losses |= {"anchor": settings.lambda_anchor * apart, "center": settings.lambda_center * near}
        if settings.lambda_parts:
            each = torch.stack([cross_entropy(part, targets, smoothing) for part in balance.parts])
            losses["parts"] = settings.lambda_parts * each.sum()
        return losses
