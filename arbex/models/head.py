"""Reliability balancing: anchors and attention correct the primary distribution, weighted by confidence.

Sections 3.3 and 3.4 of ARBEx. In shapes, B is the batch size, N the number of classes, K the number of anchors per
class and D the width of the embedding. Everything is computed on log-probabilities, because ``p log p`` at p = 0 and
``log`` of a clamped value fail in half precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.errors import InputError

EPSILON = 1e-7
"""Added to both weights of a mixture: where both confidences are 0, the mixture is the plain mean.

Smaller confidences are rounding errors of float32.
"""


EMBEDDING = 128
"""Width of the embedding, the space of the anchors."""

ANCHORS = 10
"""Usual number of anchors per class: Table 1 favors 8 to 10."""

RADIUS = 5.0
"""Initial length of anchors: with delta = 1, an embedding on an anchor is then corrected to near certainty."""


SMALLEST_SQUARE = 1e-12
"""Added to squared distances, so that the gradient of the square root is finite at zero."""


class Balance(NamedTuple):
    """Output of a head, float32; distributions are natural logarithms of probabilities.

    Attributes:
        corrected: Corrected distribution ``log L`` [B, N].
        primary: Primary distribution ``log l`` [B, N].
        geometric: Anchor correction ``log t_g`` [B, N]; without anchors, the same tensor as ``attentive``.
        attentive: Attentive correction ``log t_a`` [B, N].
        logits: Logits of the primary distribution [B, N].
        embedding: Embedding ``e`` [B, D].
    """

    corrected: Tensor
    primary: Tensor
    geometric: Tensor
    attentive: Tensor
    logits: Tensor
    embedding: Tensor


def logsumexp(z: Tensor) -> Tensor:
    """Returns ``log sum exp z`` over the last dimension, ``[..., 1]``.

    The maximum is subtracted explicitly: the operator of some runtimes does not do so.
    """
    top = z.amax(-1, keepdim=True)
    return top + (z - top).exp().sum(-1, keepdim=True).log()


def log_softmax(z: Tensor) -> Tensor:
    """Returns the logarithm of the softmax over the last dimension; finite for every finite ``z``.

    One of the exporters turns torch's own operator into ``log(softmax(z))``, which is minus infinity for small
    probabilities.
    """
    return z - logsumexp(z)


def certainty(log_p: Tensor) -> Tensor:
    """Returns ``1 - H(p) / log N`` for log-probabilities ``[B, N]``, as ``[B, 1]``, up to rounding in [0, 1]."""
    scale = math.log(log_p.shape[-1])
    # Computed as the mean of (log p + log N) / log N, which keeps its precision near the uniform distribution.
    return (log_p.exp() * (log_p + scale)).sum(-1, keepdim=True) / scale


def confidence(log_p: Tensor) -> Tensor:
    """Returns ``C(p) = 1 - H(p) / log N`` in [0, 1] for log-probabilities ``[B, N]``, as ``[B, 1]``."""
    return certainty(log_p).clamp(0.0, 1.0)


def mix(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Returns ``log((c_p p + c_q q) / (c_p + c_q))`` for log-probabilities ``[B, N]``, weighted by confidence.

    The weights have no gradient: with one, the easiest way to lower the loss is to become unsure of everything, and
    training stays at the uniform distribution (docs/decisions/0004).
    """
    # ReLU in place of a clamp to [0, 1], for which phones have no kernel: only negative weights would do harm.
    c_p, c_q = (F.relu(certainty(p.detach() if p.requires_grad else p)) + EPSILON for p in (log_p, log_q))  # [B, 1]
    total = c_p + c_q
    a, b = log_p + (c_p / total).log(), log_q + (c_q / total).log()  # [B, N] each
    top = torch.maximum(a, b)
    return top + ((a - top).exp() + (b - top).exp()).log()


def spread_anchors(num_classes: int, anchors: int, dim: int, radius: float = RADIUS) -> Tensor:
    """Returns initial anchors ``[N, K, D]`` on a sphere; those of a class lie around a common direction.

    They are apart because the distance between coinciding anchors has no gradient, and of equal length because unequal
    lengths would make the first corrections confident before anything is learned.
    """
    centers = torch.randn(num_classes, 1, dim)
    directions = F.normalize(
        F.normalize(centers, dim=-1) + 0.5 * F.normalize(torch.randn(num_classes, anchors, dim), dim=-1),
        dim=-1,
    )
    return radius * directions


def uncorrected(logits: Tensor, embedding: Tensor) -> Balance:
    """Returns a balance without correction: the primary distribution stands for all four.

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
            allowed=f"Allowed: values whose product divides {embedding}.",
        )


class ReliabilityHead(nn.Module):
    """Maps the vectors of a backbone to a primary and a corrected distribution.

    Args:
        in_features: Width of the vectors.
        num_classes: N, the number of classes.
        anchors: K, the number of anchors per class; with 0, attention alone corrects.
        embedding: D, the width of the embedding.
        hidden: Width of the two hidden layers of the primary classifier.
        dropout: Dropout probability in those layers.
        tokens: Number of tokens that the embedding is cut into for the attentive correction.
        attention_heads: Number of heads of that attention; it must divide ``embedding / tokens``.
        delta: Scale of the distances to anchors: the larger, the flatter the anchor correction.
        radius: Initial length of anchors, in the unit of the distances.

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
        self.only_anchors_train_encoder = False  # used in training only
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
        """Returns ``log t_g`` [B, N]: a softmax over all anchors, summed over the anchors of each class (3.4.1)."""
        closeness = -self.distances(embedding) / self.delta  # [B, N, K]
        similarity = log_softmax(closeness.flatten(1))  # [B, N*K]
        return logsumexp(similarity.reshape(closeness.shape)).squeeze(-1)

    def attentive_correction(self, embedding: Tensor) -> Tensor:
        """Returns ``log t_a`` [B, N]: self-attention among the tokens of each sample's embedding (3.4.2)."""
        batch = embedding.shape[0]
        tokens = embedding.reshape(batch, self.tokens, -1)  # [B, T, D/T]
        qkv = self.query_key_value(tokens).reshape(batch, self.tokens, 3, self.attention_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, T, D/T/heads] each
        attended = F.scaled_dot_product_attention(query, key, value)  # [B, heads, T, D/T/heads]
        attended = attended.transpose(1, 2).reshape(batch, -1)  # [B, D]
        return log_softmax(self.attentive(attended))

    def forward(self, features: Tensor) -> Balance:
        """Maps vectors ``[B, in_features]`` to the distributions and the embedding."""
        embedding = self.reduce(features.float())  # [B, D]
        detached = embedding.detach() if self.training and self.only_anchors_train_encoder else embedding
        logits = self.primary(detached)  # [B, N]
        primary = log_softmax(logits)
        attentive = self.attentive_correction(detached)
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
        """Maps vectors ``[B, in_features]`` to a balance without correction."""
        features = features.float()
        return uncorrected(self.classify(features), features)
