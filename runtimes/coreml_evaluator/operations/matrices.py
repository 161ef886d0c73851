"""Products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from runtimes.coreml_evaluator.operations.registry import Tensors, operation


@operation()
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns x weight^T + bias for ``x [..., I]``, ``weight [O, I]`` and ``bias [O]``."""
    return functional.linear(x, weight, bias)


@operation()
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Multiplies the matrices in the last two axes, whose leading axes are broadcast."""
    if transpose_x and x.ndim > 1:
        x = x.mT
    if transpose_y and y.ndim > 1:
        y = y.mT
    shared = torch.promote_types(x.dtype, y.dtype)
    return torch.matmul(x.to(shared), y.to(shared))


@operation()
def einsum(values: Tensors, equation: str) -> Tensor:
    """Sums products of two tensors as an equation such as ``nchw,nwhu->nchu`` says."""
    return torch.einsum(equation, *values)


@operation()
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Returns softmax(query key^T / sqrt(E) + mask) value."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask)
