"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from runtimes.coreml_evaluator.operations.registry import operation

SIGMOID_SLOPE = 1.702
"""Slope of the sigmoid that approximates GELU."""


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Returns ``[C]`` values in a shape that is broadcast along axis 1 of ``x``."""
    return values.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else values


@operation()
def relu(x: Tensor) -> Tensor:
    """Returns max(0, x)."""
    return torch.relu(x)


@operation()
def relu6(x: Tensor) -> Tensor:
    """Returns min(6, max(0, x))."""
    return x.clamp(0, 6)


@operation()
def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Returns min(beta, x) where x >= 0, and min(beta, alpha x) elsewhere."""
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


@operation()
def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """Returns x where x >= 0, and alpha x elsewhere."""
    return torch.where(x >= 0, x, alpha * x)


@operation()
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """Returns x where x >= 0, and alpha x elsewhere, with an alpha per channel."""
    return torch.where(x >= 0, x, per_channel(alpha, x) * x)


@operation()
def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """Returns x where x >= alpha, and 0 elsewhere."""
    return torch.where(x >= alpha, x, 0)


@operation()
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Returns x where x > 0, and alpha (exp(x) - 1) elsewhere."""
    return functional.elu(x, alpha)


@operation()
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Returns x times the normal distribution's cumulative function, or one of two approximations of it.

    Args:
        x: The input.
        mode: ``EXACT``, ``TANH_APPROXIMATION`` or ``SIGMOID_APPROXIMATION``.
    """
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(SIGMOID_SLOPE * x)
    return functional.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[mode])


@operation()
def linear_activation(x: Tensor, alpha: float, beta: float = 0.0) -> Tensor:
    """Returns alpha x + beta."""
    return alpha * x + beta


@operation()
def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Returns alpha tanh(beta x)."""
    return alpha * torch.tanh(beta * x)


@operation()
def sigmoid(x: Tensor) -> Tensor:
    """Returns 1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@operation()
def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Returns min(1, max(0, alpha x + beta))."""
    return (alpha * x + beta).clamp(0, 1)


@operation()
def silu(x: Tensor) -> Tensor:
    """Returns x sigmoid(x)."""
    return functional.silu(x)


@operation()
def softplus(x: Tensor) -> Tensor:
    """Returns log(1 + exp(x))."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operation()
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Returns alpha log(1 + exp(beta x)), with an alpha and a beta per channel."""
    return per_channel(alpha, x) * softplus(per_channel(beta, x) * x)


@operation()
def softsign(x: Tensor) -> Tensor:
    """Returns x / (1 + abs(x))."""
    return functional.softsign(x)


@operation()
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Returns exp(x) divided by its sum along an axis."""
    return torch.softmax(x, axis)


BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": relu,
    "sigmoid": sigmoid,
    "sigmoid_hard": lambda x: sigmoid_hard(x, 0.2, 0.5),
    "hard_sigmoid": lambda x: sigmoid_hard(x, 0.2, 0.5),
    "softplus": softplus,
    "softsign": softsign,
    "scaled_tanh": lambda x: scaled_tanh(x, 1.0, 1.0),
    "tanh": torch.tanh,
}
"""Activations of recurrent layers by name."""
