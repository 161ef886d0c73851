"""Compressed weights: operations on constants alone, which are computed when a package is loaded."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.quantization import along
from runtimes.coreml_evaluator.operations.registry import Ints, operation
from runtimes.coreml_evaluator.values import unpack


@operation()
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """Returns weights that are stored in float16; the program declares the type they are cast to."""
    return source_val


@operation()
def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """Returns scale (quantized_data - zero_point), with a scale for all values or one per position of an axis."""
    data = quantized_data.to(torch.float32)
    return along(scale, data, axis) * (data - along(zero_point, data, axis).to(torch.float32))


def per_block(values: Tensor, shape: torch.Size) -> Tensor:
    """Returns a value per block of a tensor, repeated over its block."""
    for axis, (size, blocks) in enumerate(zip(shape, values.shape, strict=True)):
        values = values.repeat_interleave(size // blocks, axis)
    return values


@operation()
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Returns scale (data - offset), with a scale and an offset per block."""
    wide = data.to(torch.float32)
    if offset is not None:
        wide = wide - per_block(offset.to(torch.float32), data.shape)
    return per_block(scale, data.shape) * wide


def spread(nonzero_data: Tensor, mask: Tensor) -> Tensor:
    """Returns a tensor of zeros with values where a mask is set, in row-major order."""
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask.to(torch.bool)] = nonzero_data
    return dense


@operation()
def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Ints | None = None) -> Tensor:
    """Returns sparse weights as dense ones.

    Args:
        nonzero_data: Their values.
        mask: Where they are: bits packed into bytes, or, from iOS 18 on, one number per weight.
        shape: Shape of the weights, if bits are packed.
    """
    if shape is not None:
        mask = torch.from_numpy(unpack(mask.numpy(), 1, math.prod(shape)).reshape(shape))
    return spread(nonzero_data, mask)


@operation()
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Ints | None = None, vector_axis: int | None = None
) -> Tensor:
    """Returns weights that are indices into a table.

    Args:
        indices: The indices: packed into bytes, or, from iOS 18 on, one number per weight or per vector of weights.
        lut: The table ``[P]``; from iOS 18 on, a table per block: ``[blocks of each axis ..., P, V]``.
        shape: Shape of the weights, if indices are packed.
        vector_axis: Axis along which the V values of an entry lie.
    """
    if shape is not None:
        bits = int(math.log2(lut.numel()))
        numbers = unpack(indices.numpy(), bits, math.prod(shape)).astype(np.int64)
        return lut.reshape(-1)[torch.from_numpy(numbers)].reshape(shape)
    return looked_up(indices, lut, vector_axis)


def looked_up(indices: Tensor, lut: Tensor, vector_axis: int | None) -> Tensor:
    """Returns the entries of block-wise tables, with the values of each entry along an axis."""
    entries, size = lut.shape[-2:]
    tables = lut.reshape(-1, entries, size)
    blocks = torch.arange(len(tables)).reshape(lut.shape[:-2])
    vectors = tables[per_block(blocks, indices.shape), indices.to(torch.int64)]
    if size == 1:
        return vectors.squeeze(-1)
    axis = (vector_axis or 0) % indices.ndim
    return vectors.movedim(-1, axis + 1).flatten(axis, axis + 1)


@operation()
def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """Returns mask and values of sparse weights whose values are indices into a table."""
    dense = looked_up(spread(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if lut.shape[-1] > 1:
        mask = indices_mask.repeat_interleave(lut.shape[-1], (vector_axis or 0) % indices_mask.ndim)
    return mask, dense[mask.to(torch.bool)]


@operation()
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Returns mask and values of sparse weights whose values are quantized by blocks."""
    dense = constexpr_blockwise_shift_scale(spread(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask.to(torch.bool)]
