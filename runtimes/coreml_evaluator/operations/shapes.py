"""Shapes: reshaping, transposing, joining, splitting, repeating, filling."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from runtimes.coreml_evaluator.operations.registry import Bools, Ints, Tensors, operation

IOS17 = 17


@operation()
def shape(x: Tensor) -> Tensor:
    """Returns the shape of a tensor."""
    return torch.tensor(x.shape, dtype=torch.int32)


@operation()
def reshape(x: Tensor, shape: Ints, op_set: int = IOS17) -> Tensor:
    """Reshapes; a 0 keeps the length of an axis, counted from the end from iOS 17 on and from the start before.

    A 0 without an axis stands for 1.
    """
    offset = x.ndim - len(shape) if op_set >= IOS17 else 0
    kept = [x.shape[i + offset] if 0 <= i + offset < x.ndim else 1 for i in range(len(shape))]
    return x.reshape([kept[i] if length == 0 and x.numel() else length for i, length in enumerate(shape)])


@operation()
def reshape_like(x: Tensor, ref_tensors: Tensors, begins: Ints, ends: Ints, end_masks: Bools) -> Tensor:
    """Reshapes to lengths of axes of other tensors, in a row."""
    lengths: list[int] = []
    for reference, begin, end, to_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        lengths += reference.shape[begin : None if to_end else end]
    return x.reshape(lengths)


@operation()
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    """Inserts axes of length 1, whose numbers are those of the output."""
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operation()
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Removes axes of length 1, by default all."""
    return x.squeeze() if axes is None else x.squeeze(axes)


@operation()
def transpose(x: Tensor, perm: Ints) -> Tensor:
    """Permutes the axes."""
    return x.permute(perm)


@operation()
def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """Flattens the axes before one, and those from it on."""
    chosen = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:chosen]), math.prod(x.shape[chosen:]))


@operation()
def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    """Joins tensors along an axis, one after the other, or their positions in turns."""
    if interleave:
        place = axis % values[0].ndim
        return torch.stack(values, place + 1).flatten(place, place + 1)
    return torch.cat(values, axis)


@operation()
def stack(values: Tensors, axis: int) -> Tensor:
    """Joins tensors along a new axis."""
    return torch.stack(values, axis)


@operation()
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> tuple[Tensor, ...]:
    """Splits an axis into equal parts or parts of given lengths."""
    if split_sizes is not None:
        return torch.split(x, list(split_sizes), axis)
    assert num_splits is not None
    return torch.split(x, x.shape[axis] // num_splits, axis)


@operation()
def tile(x: Tensor, reps: Ints) -> Tensor:
    """Repeats a tensor along every axis."""
    return x.repeat(reps)


@operation()
def fill(shape: Ints, value: Tensor | None = None) -> Tensor:
    """Returns a tensor of one value, by default 0."""
    number = torch.zeros(()) if value is None else value
    return torch.full(shape, number.item(), dtype=number.dtype)


@operation()
def fill_like(ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    """Returns a tensor of one value, by default 0, in the shape of another one."""
    return fill(tuple(ref_tensor.shape), value)


@operation()
def range_1d(end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """Returns start, start + step, ... before ``end``."""
    return torch.arange(start.item(), end.item(), step.item(), dtype=torch.result_type(start, step))


@operation()
def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """Pads the last axes, two numbers per axis, with a value, with reflected values or with the outermost ones."""
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        return functional.pad(x, [n for pair in reversed(pairs) for n in pair], value=constant_val)
    for axis, (before, after) in enumerate(pairs):
        positions = torch.arange(-before, x.shape[axis] + after)
        last = x.shape[axis] - 1
        if mode == "reflect" and last:
            positions = last - (positions.remainder(2 * last) - last).abs()
        x = x.index_select(axis, positions.clamp(0, last))
    return x


@operation()
def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Reverses the order along axes, by default all."""
    return x.flip(tuple(range(x.ndim)) if axes is None else axes)


@operation()
def reverse_sequence(x: Tensor, lengths: Ints, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """Reverses the first positions of an axis, as many as given for each position of another axis."""
    parts = []
    axis = seq_axis % x.ndim - (1 if seq_axis % x.ndim > batch_axis % x.ndim else 0)
    for length, part in zip(lengths, x.unbind(batch_axis), strict=True):
        head, tail = part.narrow(axis, 0, length), part.narrow(axis, length, part.shape[axis] - length)
        parts.append(torch.cat([head.flip(axis), tail], axis))
    return torch.stack(parts, batch_axis)


@operation()
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """Moves channels into space; the position within a block comes first among the channels."""
    images, channels, height, width = x.shape
    blocks = x.reshape(images, block_size, block_size, channels // block_size**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(images, -1, height * block_size, width * block_size)


@operation()
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """Moves space into channels; the position within a block comes first among the channels."""
    images, channels, height, width = x.shape
    blocks = x.reshape(images, channels, height // block_size, block_size, width // block_size, block_size)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(images, -1, height // block_size, width // block_size)


@operation()
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Moves channels into space; the position within a block comes last among the channels."""
    return functional.pixel_shuffle(x, upscale_factor)


@operation()
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """Moves space into channels; the position within a block comes last among the channels."""
    return functional.pixel_unshuffle(x, downscale_factor)


@operation()
def space_to_batch(x: Tensor, block_shape: Ints, paddings: Tensor) -> Tensor:
    """Pads ``x [B, C, H, W]`` and moves the position within each block of space into the batch."""
    around = [number for pair in reversed(paddings.tolist()) for number in pair]
    x = functional.pad(x, around)
    images, channels, height, width = x.shape
    tall, wide = block_shape
    blocks = x.reshape(images, channels, height // tall, tall, width // wide, wide)
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // tall, width // wide)


@operation()
def batch_to_space(x: Tensor, block_shape: Ints, crops: Tensor) -> Tensor:
    """Moves the batch into the position within each block of space, and crops; undoes ``space_to_batch``."""
    tall, wide = block_shape
    images, channels, height, width = x.shape
    blocks = x.reshape(tall, wide, images // (tall * wide), channels, height, width)
    space = blocks.permute(2, 3, 4, 0, 5, 1).reshape(-1, channels, height * tall, width * wide)
    (top, bottom), (left, right) = crops.tolist()
    return space[:, :, top : space.shape[2] - bottom, left : space.shape[3] - right]


@operation()
def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """Returns all windows along an axis, as an axis of windows and, after it, one of positions in them."""
    place = axis % x.ndim
    return x.unfold(place, size, stride).movedim(-1, place + 1)


@operation()
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Sets all values of the last two axes to 0 but those at most ``lower`` below and ``upper`` above the diagonal."""
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])
    kept = torch.ones(x.shape[-2:], dtype=torch.bool)
    if lower >= 0:
        kept &= rows - columns <= lower
    if upper >= 0:
        kept &= columns - rows <= upper
    return torch.where(kept, x, torch.zeros_like(x))
