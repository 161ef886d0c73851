"""Reliability balancing: anchors and attention correct the primary distribution, weighted by confidence.

Sections 3.3 and 3.4 of ARBEx. B batch, N classes, K anchors a class, D embedding width. Everything is computed
on log-probabilities: ``p log p`` at p = 0 and ``log`` of a clamped value are how such heads die in half precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.errors import InputError

EPSILON = 1e-7
"""A confidence below this is float32 rounding; added to both weights, it makes their limit the plain mean."""


EMBEDDING = 128
"""Width of the space in which the anchors lie."""

ANCHORS = 10
"""Usual number of anchors per class: Table 1 favors 8 to 10."""

RADIUS = 5.0
"""Initial length of anchors: at delta = 1, an embedding on an anchor is then about 80 % sure of it."""


SMALLEST_SQUARE = 1e-12
"""Added to squared distances, so that the gradient of their root is finite at zero."""


class Balance(NamedTuple):
    """What the head computes; distributions as natural logarithms, all float32.

    Attributes:
        corrected: ``log L`` [B, N].
        primary: ``log l`` [B, N].
        geometric: ``log t_g`` [B, N], the anchor correction; without anchors, ``attentive`` itself.
        attentive: ``log t_a`` [B, N], the attentive correction.
        logits: The values behind ``primary`` [B, N].
        embedding: ``e`` [B, D].
    """

    corrected: Tensor
    primary: Tensor
    geometric: Tensor
    attentive: Tensor
    logits: Tensor
    embedding: Tensor


def logsumexp(z: Tensor) -> Tensor:
    """Returns ``log sum exp z`` over the last dimension, ``[..., 1]``.

    Written out with the maximum taken off: not every runtime's own operator does that.
    """
    top = z.amax(-1, keepdim=True)
    return top + (z - top).exp().sum(-1, keepdim=True).log()


def log_softmax(z: Tensor) -> Tensor:
    """Returns the logarithm of the softmax over the last dimension; finite for every finite ``z``.

    One of the exporters turns torch's own into ``log(softmax(z))``, which is minus infinity where it matters.
    """
    return z - logsumexp(z)


def certainty(log_p: Tensor) -> Tensor:
    """Returns ``1 - H(p) / log N`` for log-probabilities ``[B, N]``, as ``[B, 1]``; rounding may leave [0, 1]."""
    scale = math.log(log_p.shape[-1])
    # Written as the mean of (log p + log N) / log N: near the uniform distribution nothing cancels.
    return (log_p.exp() * (log_p + scale)).sum(-1, keepdim=True) / scale


def confidence(log_p: Tensor) -> Tensor:
    """Returns ``C(p) = 1 - H(p) / log N`` in [0, 1] for log-probabilities ``[B, N]``, as ``[B, 1]``."""
    return certainty(log_p).clamp(0.0, 1.0)


def mix(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Returns ``log((c_p p + c_q q) / (c_p + c_q))`` for log-probabilities ``[B, N]``, weighted by confidence.

    The weights carry no gradient: with one, the cheapest way to lower the loss is to become unsure of everything,
    and training stays at the uniform distribution (docs/decisions/0004).
    """
    # A weight must not fall below 0, but may be 1 + 1e-7: phones have a kernel for ReLU and none for a clamp to [0, 1].
    c_p, c_q = (F.relu(certainty(p.detach() if p.requires_grad else p)) + EPSILON for p in (log_p, log_q))  # [B, 1]
    total = c_p + c_q
    a, b = log_p + (c_p / total).log(), log_q + (c_q / total).log()  # [B, N] each
    top = torch.maximum(a, b)
    return top + ((a - top).exp() + (b - top).exp()).log()


def spread_anchors(num_classes: int, anchors: int, dim: int, radius: float = RADIUS) -> Tensor:
    """Returns initial anchors ``[N, K, D]``: spread over a sphere, those of a class around a common direction.

    Spread, because distances between coinciding anchors have no gradient that could part them; on a sphere,
    because anchors of unequal length make the first corrections confident before anything is learned.
    """
    centers = torch.randn(num_classes, 1, dim)
    directions = F.normalize(
        F.normalize(centers, dim=-1) + 0.5 * F.normalize(torch.randn(num_classes, anchors, dim), dim=-1),
        dim=-1,
    )
    return radius * directions


def uncorrected(logits: Tensor, embedding: Tensor) -> Balance:
    """Returns the balance of a head that corrects nothing: its four distributions are one.

    Args:
        logits: ``[B, N]``.
        embedding: ``[B, D]``.
    """
    log_p = log_softmax(logits)
    return Balance(log_p, log_p, log_p, log_p, logits, embedding)


def check_tokens(embedding: int, tokens: int, attention_heads: int) -> None:
    """Checks that an embedding can be cut into tokens, and each token into attention heads.

    Raises:
        InputError: If it cannot.
    """
    if embedding % (tokens * attention_heads):
        raise InputError(
            f"tokens is {tokens} and attention_heads is {attention_heads}; their product does not divide the "
            f"{embedding} dimensions of the embedding.",
        )


class ReliabilityHead(nn.Module):
    """Turns a backbone's vector into a primary and a corrected distribution.

    Args:
        in_features: Width of the backbone's vector.
        num_classes: N.
        anchors: K, anchors a class (Table 1 favors 8 to 10); with 0, attention alone corrects.
        embedding: D, width of the space in which the anchors lie.
        hidden: Width of the two hidden layers of the primary classifier.
        dropout: Probability in those layers, in training.
        tokens: Into how many tokens the embedding is cut for the attentive correction.
        attention_heads: Heads of that attention; must divide ``embedding / tokens``.
        delta: Steepness of the similarity to anchors, in units of distance.
        radius: Initial length of anchors, in the same unit.

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
        hidden: int = 64,
        dropout: float = 0.5,
        tokens: int = 8,
        attention_heads: int = 4,
        delta: float = 1.0,
        radius: float = RADIUS,
    ) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        check_tokens(embedding, tokens, attention_heads)
        self.delta, self.num_anchors = delta, anchors
        self.tokens, self.attention_heads = tokens, attention_heads
        self.lend_encoder = False  # in training: only the anchors send gradients into the encoder
        self.reduce = nn.Linear(in_features, embedding)
        self.primary = nn.Sequential(
            *(nn.Linear(embedding, hidden), nn.ReLU(), nn.Dropout(dropout), nn.BatchNorm1d(hidden)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.BatchNorm1d(hidden)),
            nn.Linear(hidden, num_classes),
        )
        self.anchors = nn.Parameter(spread_anchors(num_classes, anchors, embedding, radius))
        self.query_key_value = nn.Linear(embedding // tokens, 3 * (embedding // tokens))
        self.attentive = nn.Linear(embedding, num_classes)

    def distances(self, embedding: Tensor) -> Tensor:
        """Returns the Euclidean distances from ``[B, D]`` to all anchors, as ``[B, N, K]``."""
        difference = embedding[:, None, None, :] - self.anchors  # [B, N, K, D]
        return (difference.square().sum(-1) + SMALLEST_SQUARE).sqrt()

    def geometric_correction(self, embedding: Tensor) -> Tensor:
        """Returns ``log t_g`` [B, N]: a softmax over all anchors, summed over those of a class (3.4.1)."""
        closeness = -self.distances(embedding) / self.delta  # [B, N, K]
        similarity = log_softmax(closeness.flatten(1))  # [B, N*K]
        return logsumexp(similarity.reshape(closeness.shape)).squeeze(-1)

    def attentive_correction(self, embedding: Tensor) -> Tensor:
        """Returns ``log t_a`` [B, N]: self-attention among the tokens of one sample's embedding (3.4.2)."""
        batch = embedding.shape[0]
        tokens = embedding.reshape(batch, self.tokens, -1)  # [B, T, D/T]
        qkv = self.query_key_value(tokens).reshape(batch, self.tokens, 3, self.attention_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, T, D/T/heads] each
        attended = F.scaled_dot_product_attention(query, key, value)  # [B, heads, T, D/T/heads]
        attended = attended.transpose(1, 2).reshape(batch, -1)  # [B, D]
        return log_softmax(self.attentive(attended))

    def forward(self, features: Tensor) -> Balance:
        """Maps the backbone's vectors ``[B, in_features]`` to all that the losses need."""
        embedding = self.reduce(features.float())  # [B, D]
        lent = embedding.detach() if self.training and self.lend_encoder else embedding
        logits = self.primary(lent)  # [B, N]
        primary = log_softmax(logits)
        attentive = self.attentive_correction(lent)
        geometric = self.geometric_correction(embedding) if self.num_anchors else attentive
        correction = mix(geometric, attentive) if self.num_anchors else attentive
        corrected = mix(primary, correction)  # 3.4.3
        return Balance(corrected, primary, geometric, attentive, logits, embedding)


class LinearHead(nn.Module):
    """A linear classifier without correction: the corrected distribution is the primary one."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        """Builds the classifier with fresh weights."""
        super().__init__()
        self.classify = nn.Linear(in_features, num_classes)

    def forward(self, features: Tensor) -> Balance:
        """Maps vectors ``[B, in_features]`` to a balance whose four distributions are one."""
        features = features.float()
        return uncorrected(self.classify(features), features)
