"""Quantized activations."""

from __future__ import annotations

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import operation


def along(values: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """Returns a number, or numbers per position of an axis, in a shape that is broadcast to ``x``."""
    if values.ndim == 0 or values.numel() == 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[axis or 0] = -1
    return values.reshape(shape)


@operation()
def quantize(
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """Returns clip(round(input / scale) + zero_point), with halves rounded to even."""
    steps = torch.round(input / along(scale, input, axis))
    if zero_point is not None:
        steps = steps + along(zero_point, input, axis).to(torch.float32)
    limits = torch.iinfo(getattr(torch, output_dtype))
    return steps.clamp(limits.min, limits.max).to(getattr(torch, output_dtype))


@operation("dequantize")
def dequantize(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """Returns scale (input - zero_point)."""
    steps = input.to(torch.float32)
    if zero_point is not None:
        steps = steps - along(zero_point, input, axis).to(torch.float32)
    return steps * along(scale, input, axis)
