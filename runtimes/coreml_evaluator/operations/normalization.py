"""Normalization."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from runtimes.coreml_evaluator.operations.activations import per_channel
from runtimes.coreml_evaluator.operations.registry import Ints, operation


@operation()
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Normalizes ``x [B, C, ...]`` by a mean and a variance per channel."""
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)


@operation()
def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Normalizes every channel of every image of ``x [B, C, ...]`` by its own mean and variance."""
    axes = tuple(range(2, x.ndim))
    normal = standardized(x, axes, epsilon)
    normal = normal if gamma is None else normal * per_channel(gamma, x)
    return normal if beta is None else normal + per_channel(beta, x)


@operation()
def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Normalizes by mean and variance along some axes, by default all.

    Args:
        x: The input.
        axes: The axes, in ascending order.
        gamma: Factors in the shape of those axes.
        beta: Summands in the shape of those axes.
        epsilon: Added to the variance.
    """
    chosen = tuple(range(x.ndim)) if axes is None else tuple(sorted(axis % x.ndim for axis in axes))
    if chosen == tuple(range(x.ndim - len(chosen), x.ndim)):
        return functional.layer_norm(x, x.shape[chosen[0] :], gamma, beta, epsilon)
    shape = [x.shape[axis] if axis in chosen else 1 for axis in range(x.ndim)]
    normal = standardized(x, chosen, epsilon)
    normal = normal if gamma is None else normal * gamma.reshape(shape)
    return normal if beta is None else normal + beta.reshape(shape)


def standardized(x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    """Returns a tensor with mean 0 and, but for ``epsilon``, variance 1 along some axes."""
    centered = x - x.mean(axes, keepdim=True)
    return centered * torch.rsqrt(centered.square().mean(axes, keepdim=True) + epsilon)


@operation()
def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Divides the last three axes by their Euclidean norm."""
    return x * torch.rsqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


@operation()
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divides by (k + alpha / size times the sum of squares of ``size`` neighboring channels) to the power ``beta``."""
    return functional.local_response_norm(x, size, alpha, beta, k)
