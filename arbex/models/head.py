"""Reliability balancing: anchors and attention correct the primary distribution, weighted by confidence.

Sections 3.3 and 3.4 of ARBEx. In shapes, B is the batch size, N the number of classes, K the number of anchors per
class and D the width of the embedding.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.errors import InputError
from arbex.models.distributions import log_softmax, logsumexp, mix, scaled, softened, sum_over_anchors

EMBEDDING = 128
"""Width of the embedding, the space of the anchors."""

ANCHORS = 10
"""Usual number of anchors per class: Table 1 favors 8 to 10."""

HIDDEN = 64
"""Width of the hidden layers of the primary classifier (4.3)."""

RADIUS = 5.0
"""Initial length of anchors: with delta = 1, an embedding on an anchor is then corrected to near certainty."""

SMALLEST_SQUARE = 1e-12
"""Added to squared distances, so that the gradient of the square root is finite at zero."""


class Temperatures(NamedTuple):
    """What calibration divides logits by, so that probabilities agree with how often answers are right.

    They are fitted to validation images after training (arXiv 1706.04599), and are part of the head from then on.

    Attributes:
        primary: That of the primary distribution.
        geometric: That of the distances to anchors; it multiplies ``delta``.
        attentive: That of the attentive correction.
        mixture: That of the corrected distribution. A mixture of calibrated distributions is less certain than it could
            be (Ranjan and Gneiting, JRSS B 2010), so that this one is usually below 1.
    """

    primary: float = 1.0
    geometric: float = 1.0
    attentive: float = 1.0
    mixture: float = 1.0


class Evidence(NamedTuple):
    """What a head computes of each image before it forms distributions, float32.

    Attributes:
        logits: Logits of the primary distribution [B, N].
        embedding: Embedding ``e`` [B, D].
        closeness: Distances to all anchors, times ``-1 / delta`` [B, N, K]; None for a head without anchors.
        attentive: Logits of the attentive correction [B, N]; None for a head without it.
    """

    logits: Tensor
    embedding: Tensor
    closeness: Tensor | None = None
    attentive: Tensor | None = None


class Balance(NamedTuple):
    """Output of a head, float32; distributions are natural logarithms of probabilities.

    Attributes:
        corrected: Corrected distribution ``log L`` [B, N].
        primary: Primary distribution ``log l`` [B, N].
        geometric: Anchor correction ``log t_g`` [B, N]; without anchors, the tensor of another part.
        attentive: Attentive correction ``log t_a`` [B, N]; without it, the tensor of another part.
        logits: Logits of the primary distribution [B, N].
        embedding: Embedding ``e`` [B, D].
    """

    corrected: Tensor
    primary: Tensor
    geometric: Tensor
    attentive: Tensor
    logits: Tensor
    embedding: Tensor

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The distributions [B, N] that are mixed: the primary one, and each correction that the head has."""
        return tuple({id(part): part for part in (self.primary, self.geometric, self.attentive)}.values())


def initial_anchors(
    num_classes: int, anchors: int, dim: int, *, radius: float = RADIUS, clustered: bool = True
) -> Tensor:
    """Returns initial anchors ``[N, K, D]`` on a sphere.

    They are apart because the distance between coinciding anchors has no gradient, and of equal length because unequal
    lengths would make the first corrections confident before anything is learned.

    Args:
        num_classes: N.
        anchors: K.
        dim: D.
        radius: Radius of the sphere.
        clustered: Whether the anchors of a class lie around a common direction; otherwise, each has its own.
    """
    centers = torch.randn(num_classes, 1, dim)
    directions = F.normalize(torch.randn(num_classes, anchors, dim), dim=-1)
    if clustered:
        directions = F.normalize(F.normalize(centers, dim=-1) + 0.5 * directions, dim=-1)
    return radius * directions


def check_tokens(embedding: int, tokens: int, attention_heads: int) -> None:
    """Checks that an embedding can be cut into tokens, and each token into attention heads.

    Raises:
        InputError: If it cannot.
    """
    if embedding % (tokens * attention_heads):
        raise InputError(
            f"tokens is {tokens} and attention_heads is {attention_heads}; their product does not divide the "
            f"{embedding} dimensions of the embedding.",
            allowed=f"Allowed: values whose product divides {embedding}.",
        )


class Head(nn.Module):
    """Base class of all heads, and a head without correction: subclasses say what they compute of an image.

    Attributes:
        temperatures: What its logits are divided by.
    """

    temperatures = Temperatures()

    @property
    def tempered(self) -> tuple[str, ...]:
        """Names of the temperatures that the head has, those of parts before that of their mixture."""
        return ("primary",)

    @property
    def inner_weights(self) -> tuple[nn.Parameter, ...]:
        """Matrices whose outputs other layers of the head read, and that are not the answer itself."""
        return ()

    def evidence(self, features: Tensor) -> Evidence:
        """Returns what the head computes of float32 vectors ``[B, in_features]``."""
        raise NotImplementedError

    def balance(self, evidence: Evidence, temperatures: Temperatures) -> Balance:
        """Returns the distributions that follow from evidence; without correction, the primary one stands for all."""
        logits = scaled(evidence.logits, 1 / temperatures.primary)
        log_p = log_softmax(logits)
        return Balance(log_p, log_p, log_p, log_p, logits, evidence.embedding)

    def forward(self, features: Tensor) -> Balance:
        """Maps vectors ``[B, in_features]`` to the distributions and the embedding."""
        return self.balance(self.evidence(features.float()), self.temperatures)


CORRECTIONS = ("both", "anchors", "attention", "none")
"""Which corrections a reliability head has."""

WEIGHTS = ("confidence", "equal")
"""How a reliability head weighs the distributions that it mixes."""


def primary_classifier(embedding: int, num_classes: int, hidden: int, dropout: float) -> nn.Sequential:
    """Returns layers from the embedding [B, D] to the primary logits [B, N]: two hidden ones (3.3), or none."""
    layers: list[nn.Module] = []
    width = embedding
    for _ in range(2 if hidden else 0):
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.BatchNorm1d(hidden)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


class ReliabilityHead(Head):
    """Maps the vectors of a backbone to a primary and a corrected distribution.

    Args:
        in_features: Width of the vectors.
        num_classes: N, the number of classes.
        anchors: K, the number of anchors per class; with 0, there is no anchor correction.
        embedding: D, the width of the embedding.
        hidden: Width of the two hidden layers of the primary classifier; with 0, it is linear.
        dropout: Dropout probability in those layers.
        tokens: Number of tokens that the embedding is cut into for the attentive correction.
        attention_heads: Number of heads of that attention; it must divide ``embedding / tokens``.
        delta: Scale of the distances to anchors: the larger, the flatter the anchor correction.
        radius: Initial length of anchors, in the unit of the distances.
        clustered: Whether the anchors of a class lie around a common direction at first.
        correction: Which corrections there are: ``both``, ``anchors``, ``attention`` or ``none``.
        weights: How the distributions are mixed: by ``confidence`` (3.4.3), or with ``equal`` weights.
        weights_gradient: Whether the weights by confidence have a gradient.

    Attributes:
        trust: Factor of the weight of the correction while training, which may raise it from 0 to 1.

    Raises:
        InputError: If tokens and heads do not divide the embedding.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        anchors: int = ANCHORS,
        *,
        embedding: int = EMBEDDING,
        hidden: int = HIDDEN,
        dropout: float = 0.5,
        tokens: int = 8,
        attention_heads: int = 4,
        delta: float = 1.0,
        radius: float = RADIUS,
        clustered: bool = True,
        correction: str = "both",
        weights: str = "confidence",
        weights_gradient: bool = False,
    ) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        check_tokens(embedding, tokens, attention_heads)
        self.delta, self.tokens, self.attention_heads = delta, tokens, attention_heads
        self.num_anchors = anchors if correction in ("both", "anchors") else 0
        self.attends = correction in ("both", "attention")
        self.weights, self.weights_gradient, self.trust = weights, weights_gradient, 1.0
        self.only_anchors_train_encoder = False  # used in training only
        self.reduce = nn.Linear(in_features, embedding)
        self.primary = primary_classifier(embedding, num_classes, hidden, dropout)
        self.anchors = nn.Parameter(
            initial_anchors(num_classes, self.num_anchors, embedding, radius=radius, clustered=clustered)
        )
        if self.attends:
            self.query_key_value = nn.Linear(embedding // tokens, 3 * (embedding // tokens))
            self.attentive = nn.Linear(embedding, num_classes)

    @property
    def tempered(self) -> tuple[str, ...]:
        """Names of the temperatures that the head has, those of parts before that of their mixture."""
        corrections = ("geometric",) * bool(self.num_anchors) + ("attentive",) * self.attends
        return ("primary", *corrections, "mixture") if corrections else ("primary",)

    @property
    def inner_weights(self) -> tuple[nn.Parameter, ...]:
        """Matrices of the reduction, the hidden layers, and the projection before the attention."""
        layers = [self.reduce, *list(self.primary)[:-1], *([self.query_key_value] if self.attends else [])]
        return tuple(layer.weight for layer in layers if isinstance(layer, nn.Linear))  # type: ignore[misc]

    def distances(self, embedding: Tensor) -> Tensor:
        """Returns the Euclidean distances from ``[B, D]`` to all anchors, as ``[B, N, K]``."""
        difference = embedding[:, None, None, :] - self.anchors  # [B, N, K, D]
        return (difference.square().sum(-1) + SMALLEST_SQUARE).sqrt()

    def attend(self, embedding: Tensor) -> Tensor:
        """Returns logits [B, N]: self-attention among the tokens of each sample's embedding (3.4.2)."""
        batch = embedding.shape[0]
        tokens = embedding.reshape(batch, self.tokens, -1)  # [B, T, D/T]
        qkv = self.query_key_value(tokens).reshape(batch, self.tokens, 3, self.attention_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, T, D/T/heads] each
        attended = F.scaled_dot_product_attention(query, key, value)  # [B, heads, T, D/T/heads]
        logits: Tensor = self.attentive(attended.transpose(1, 2).reshape(batch, -1))
        return logits

    def evidence(self, features: Tensor) -> Evidence:
        """Returns what the head computes of vectors ``[B, in_features]``."""
        embedding = self.reduce(features)  # [B, D]
        detached = embedding.detach() if self.training and self.only_anchors_train_encoder else embedding
        return Evidence(
            logits=self.primary(detached),
            embedding=embedding,
            closeness=-self.distances(embedding) / self.delta if self.num_anchors else None,
            attentive=self.attend(detached) if self.attends else None,
        )

    def balance(self, evidence: Evidence, temperatures: Temperatures) -> Balance:
        """Returns the primary distribution, its corrections, and their mixture (3.4.3)."""
        plain = super().balance(evidence, temperatures)
        parts = {"primary": plain.primary}
        if evidence.closeness is not None:
            parts["geometric"] = sum_over_anchors(scaled(evidence.closeness, 1 / temperatures.geometric))
        if evidence.attentive is not None:
            parts["attentive"] = log_softmax(scaled(evidence.attentive, 1 / temperatures.attentive))
        *_, last = parts.values()
        return plain._replace(
            corrected=softened(self.mixture(*parts.values()), temperatures.mixture),
            geometric=parts.get("geometric", last),
            attentive=parts.get("attentive", last),
        )

    def mixture(self, primary: Tensor, *corrections: Tensor) -> Tensor:
        """Returns the mixture [B, N] of log-probabilities [B, N] before calibration."""
        if not corrections:
            return primary
        if self.weights == "equal":
            stacked = torch.stack([primary, *corrections], -1)  # [B, N, 2 or 3]
            return logsumexp(stacked).squeeze(-1) - math.log(stacked.shape[-1])
        gradient = self.weights_gradient
        correction = corrections[0] if len(corrections) == 1 else mix(*corrections, gradient=gradient)
        return mix(primary, correction, gradient=gradient, trust=self.trust if self.training else 1.0)


class LinearHead(Head):
    """A linear classifier without correction: the corrected distribution is the primary one."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        """Builds the classifier with fresh weights."""
        super().__init__()
        self.classify = nn.Linear(in_features, num_classes)

    def evidence(self, features: Tensor) -> Evidence:
        """Returns the logits, and the vectors as embedding."""
        return Evidence(self.classify(features), features)
