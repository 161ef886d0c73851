"""Parts of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import Bools, Ints, operation


def positions(
    shape: tuple[int, ...],
    begin: Ints,
    end: Ints,
    stride: Ints | None,
    begin_mask: Bools | None,
    end_mask: Bools | None,
    squeeze_mask: Bools | None,
) -> list[range]:
    """Returns the positions that are taken of every axis.

    Args:
        shape: Lengths of the axes.
        begin: First position, from the end if negative.
        end: Position to stop before, from the end if negative.
        stride: Distance of positions, which may be negative.
        begin_mask: Where true, ``begin`` is the axis's outermost position.
        end_mask: Where true, ``end`` is after the axis's other outermost position.
        squeeze_mask: Where true, only the first position is taken.
    """
    none = (False,) * len(shape)
    found = []
    for axis, length in enumerate(shape):
        step = stride[axis] if stride else 1
        start = None if (begin_mask or none)[axis] else begin[axis]
        stop = None if (end_mask or none)[axis] else end[axis]
        if (squeeze_mask or none)[axis]:
            first = (start or 0) % length
            found.append(range(first, first + 1))
        else:
            found.append(range(*slice(start, stop, step).indices(length)))
    return found


def as_slice(taken: range) -> slice:
    """Returns positions in ascending order as a slice."""
    return slice(taken.start, taken.stop, taken.step)


@operation()
def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """Takes positions of every axis; see ``positions``. Axes of ``squeeze_mask`` are removed."""
    taken = positions(tuple(x.shape), begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis, chosen in enumerate(taken):
        if chosen.step < 0:  # PyTorch takes slices in ascending order only
            x = x.flip(axis)
            last = x.shape[axis] - 1
            chosen = range(last - chosen.start, last - chosen.start + len(chosen) * -chosen.step, -chosen.step)
        x = x[(slice(None),) * axis + (as_slice(chosen),)]
    return x.squeeze(tuple(axis for axis, one in enumerate(squeeze_mask or ()) if one)) if squeeze_mask else x


@operation()
def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """Takes as many positions of every axis as ``size`` says, or all that follow where it is -1."""
    for axis, (start, length) in enumerate(zip(begin, size, strict=True)):
        start = start % x.shape[axis] if start < 0 else start
        x = x.narrow(axis, start, x.shape[axis] - start if length == -1 else length)
    return x


@operation()
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """Returns ``x`` with other values at some positions of every axis; see ``positions``."""
    taken = positions(tuple(x.shape), begin, end, stride, begin_mask, end_mask, squeeze_mask)
    result = x.clone()
    grid = torch.meshgrid(*[torch.tensor(list(chosen)) for chosen in taken], indexing="ij")
    result[grid] = update.reshape([len(chosen) for chosen in taken])
    return result


@operation()
def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    """Cuts rows from top and bottom and columns from left and right."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
