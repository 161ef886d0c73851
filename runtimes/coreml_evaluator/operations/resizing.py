"""Resizing of the last axes, each by its own grid of points at which the input is sampled."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import Ints, operation


def grid(size: int, target: int, mode: str) -> Tensor:
    """Returns the points of an axis at which it is sampled, in positions of the input.

    The formulas are those of Core ML's ``resize_bilinear``.

    Args:
        size: Length of the input's axis.
        target: Length of the output's axis.
        mode: ``STRICT_ALIGN_CORNERS``, ``ALIGN_CORNERS``, ``UNALIGN_CORNERS``, ``DEFAULT`` or ``OFFSET_CORNERS``.
    """
    steps = torch.arange(target, dtype=torch.float64)
    if mode == "ALIGN_CORNERS" and target == 1:
        points = torch.full((1,), (size - 1) / 2, dtype=torch.float64)
    elif mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = steps * ((size - 1) / max(1, target - 1))
    elif mode == "DEFAULT":
        points = steps * (size / target)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / target
        points = 0.5 * delta + steps * delta
    else:  # UNALIGN_CORNERS
        points = (steps + 0.5) * (size / target) - 0.5
    return points.clamp(0, size - 1)


def sampled(x: Tensor, axis: int, points: Tensor, *, linear: bool) -> Tensor:
    """Returns an axis sampled at points: between its two neighbors, or at the position that each point lies in."""
    lower = points.floor().to(torch.int64)
    near = x.index_select(axis, lower)
    if not linear:
        return near
    upper = (lower + 1).clamp(max=x.shape[axis] - 1)
    share = (points - lower).to(torch.float32).reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    return near + (x.index_select(axis, upper) - near) * share


def resized(x: Tensor, targets: Ints, mode: str, *, linear: bool) -> Tensor:
    """Returns the last axes of a tensor in other lengths."""
    wide = x.to(torch.float32)
    for axis, target in enumerate(targets, start=x.ndim - len(targets)):
        if target != wide.shape[axis]:
            wide = sampled(wide, axis, grid(wide.shape[axis], target, mode), linear=linear)
    return wide


@operation()
def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Resizes the last two axes between neighboring values."""
    return resized(x, (target_size_height, target_size_width), sampling_mode, linear=True)


@operation()
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Resizes the last two axes by factors, between neighboring values."""
    targets = scaled(x, scale_factor_height, scale_factor_width)
    if align_corners:
        mode = "STRICT_ALIGN_CORNERS"
    else:
        mode = "UNALIGN_CORNERS" if half_pixel_centers in (None, True) else "DEFAULT"
    return resized(x, targets, mode, linear=True)


def scaled(x: Tensor, height: float, width: float) -> Ints:
    """Returns the lengths of the last two axes times factors."""
    return math.floor(x.shape[-2] * height), math.floor(x.shape[-1] * width)


@operation()
def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """Resizes the last two axes to the values whose positions the points lie in."""
    return resized(x, (target_size_height, target_size_width), "DEFAULT", linear=False)


@operation()
def upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    """Resizes the last two axes by factors, to the values whose positions the points lie in."""
    return resized(x, scaled(x, scale_factor_height, scale_factor_width), "DEFAULT", linear=False)


@operation()
def resize(
    x: Tensor, shape: Ints, resized_dims: int, interpolation_mode: str = "LINEAR", sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Resizes the last ``resized_dims`` axes to the last lengths of ``shape``, of which 0 keeps the axis's own."""
    wanted = shape[len(shape) - resized_dims :]
    own = x.shape[x.ndim - resized_dims :]
    targets = tuple(target or length for target, length in zip(wanted, own, strict=True))
    if interpolation_mode == "LINEAR":
        return resized(x, targets, sampling_mode, linear=True)
    # Other than in ``resize_nearest_neighbor``, a position of the output is where its center is.
    for axis, target in enumerate(targets, start=x.ndim - len(targets)):
        centers = (torch.arange(target, dtype=torch.float64) + 0.5) * (x.shape[axis] / target)
        x = sampled(x, axis, centers, linear=False)
    return x
