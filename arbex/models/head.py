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


def mix(log_p: Tensor, log_q: Tensor, *, gradient: bool = False, trust: float = 1.0) -> Tensor:
    """Returns ``log((c_p p + c_q q) / (c_p + c_q))`` for log-probabilities ``[B, N]``, weighted by confidence.

    Args:
        log_p: One distribution.
        log_q: The other one.
        gradient: Whether the weights have a gradient. With one, the easiest way to lower the loss is to become unsure
            of everything, and training may stay at the uniform distribution (docs/decisions/0004).
        trust: Factor of the weight of the second one.
    """
    held = [p if gradient or not p.requires_grad else p.detach() for p in (log_p, log_q)]
    share_p, share_q = shares(held[0], held[1], trust)
    a, b = log_p + share_p.log(), log_q + share_q.log()  # [B, N] each
    top = torch.maximum(a, b)
    return top + ((a - top).exp() + (b - top).exp()).log()


def shares(log_p: Tensor, log_q: Tensor, trust: float = 1.0) -> tuple[Tensor, Tensor]:
    """Returns the weights of two distributions in their mixture, ``[B, 1]`` each, whose sum is 1 (3.4.3).

    Args:
        log_p: Log-probabilities of one distribution ``[B, N]``.
        log_q: Those of the other one ``[B, N]``.
        trust: Factor of the confidence of the second one.
    """
    # ReLU in place of a clamp to [0, 1], for which phones have no kernel: only negative weights would do harm.
    c_p = F.relu(certainty(log_p)) + EPSILON
    c_q = scaled(F.relu(certainty(log_q)), trust) + EPSILON
    total = c_p + c_q
    return c_p / total, c_q / total


def scaled(z: Tensor, factor: float) -> Tensor:
    """Returns ``z`` times a factor; a factor of 1 leaves no operator in the exported graph."""
    return z if factor == 1 else z * factor


def softened(log_p: Tensor, temperature: float) -> Tensor:
    """Returns the log-probabilities [B, N] of ``p ** (1 / temperature)``, normalized again."""
    return log_p if temperature == 1 else log_softmax(scaled(log_p, 1 / temperature))


def sum_over_anchors(closeness: Tensor) -> Tensor:
    """Returns ``log t_g`` [B, N] for closeness to anchors [B, N, K]: a softmax over all, summed by class (3.4.1)."""
    similarity = log_softmax(closeness.flatten(1))  # [B, N*K]
    return logsumexp(similarity.reshape(closeness.shape)).squeeze(-1)


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
