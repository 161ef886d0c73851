"""Gathering and scattering. Negative indices count from the end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import operation


def wrapped(indices: Tensor, length: int, *, strict: bool = False) -> Tensor:
    """Returns indices in which negative ones count from the end of an axis.

    Raises:
        IndexError: If they are to be within [0, length) and are not.
    """
    numbers = indices.to(torch.int64)
    if strict and bool(((numbers < 0) | (numbers >= length)).any()):
        raise IndexError(f"the indices {numbers.reshape(-1).tolist()} are not all within [0, {length - 1}]")
    return torch.where(numbers < 0, numbers + length, numbers)


COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "update": lambda old, new: new,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
}
"""What a scatter operation writes where it finds one value and is given another, by its mode."""


@operation()
def gather(x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """Takes positions of an axis, after ``batch_dims`` leading axes that tensor and indices share."""
    place = axis % x.ndim
    numbers = wrapped(indices, x.shape[place], strict=validate_indices)
    if batch_dims == 0:
        taken = x.index_select(place, numbers.reshape(-1))
        return taken.reshape(*x.shape[:place], *numbers.shape, *x.shape[place + 1 :])
    parts = [gather(one, many, place - 1, batch_dims - 1) for one, many in zip(x, numbers, strict=True)]
    return torch.stack(parts)


@operation()
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """Takes, at every position of ``indices``, the value of ``x`` there but for the position along an axis."""
    return torch.take_along_dim(x, wrapped(indices, x.shape[axis], strict=validate_indices), axis)


@operation()
def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """Takes parts of a tensor by the leading positions in the last axis of ``indices``."""
    if batch_dims:
        pairs = zip(x, indices, strict=True)
        return torch.stack([gather_nd(one, many, batch_dims - 1, validate_indices) for one, many in pairs])
    parts = zip(indices.unbind(-1), x.shape, strict=False)
    return x[tuple(wrapped(part, length, strict=validate_indices) for part, length in parts)]


@operation()
def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """Combines updates into positions of an axis, one after the other where positions repeat."""
    place = axis % data.ndim
    numbers = wrapped(indices, data.shape[place], strict=validate_indices).reshape(-1)
    result = data.clone()
    parts = updates.flatten(place, place + indices.ndim - 1) if indices.ndim else updates.unsqueeze(place)
    for number, part in zip(numbers.tolist(), parts.unbind(place), strict=True):
        target = result.select(place, number)
        target.copy_(COMBINE[mode](target, part))
    return result


@operation()
def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """Combines every update into the position of ``indices`` along an axis, and its own along the others."""
    place = axis % data.ndim
    numbers = wrapped(indices, data.shape[place], strict=validate_indices)
    result = data.clone()
    for index, update in zip(numbers.unbind(place), updates.unbind(place), strict=True):
        region = tuple(slice(0, length) for length in numbers.narrow(place, 0, 1).shape)
        narrow = result[tuple(slice(None) if i == place else part for i, part in enumerate(region))]
        found = narrow.gather(place, index.unsqueeze(place))
        narrow.scatter_(place, index.unsqueeze(place), COMBINE[mode](found, update.unsqueeze(place)))
    return result


@operation()
def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """Combines updates into parts of a tensor by the leading positions in the last axis of ``indices``."""
    depth = indices.shape[-1]
    result = data.clone()
    flat = updates.reshape(-1, *data.shape[depth:])
    parts = zip(indices.unbind(-1), data.shape, strict=False)
    places = torch.stack([wrapped(part, length, strict=validate_indices) for part, length in parts], -1)
    for place, part in zip(places.reshape(-1, depth).tolist(), flat, strict=True):
        where = tuple(place)
        result[where] = COMBINE[mode](result[where], part)
    return result
