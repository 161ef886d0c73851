"""Distributions as log-probabilities: softmax, confidence, and mixtures weighted by it (section 3.4 of ARBEx).

In shapes, B is the batch size, N the number of classes and K the number of anchors per class. Everything is computed on
log-probabilities, because ``p log p`` at p = 0 and ``log`` of a clamped value fail in half precision.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7
"""Added to both weights of a mixture: where both confidences are 0, the mixture is the plain mean.

Smaller confidences are rounding errors of float32.
"""


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
