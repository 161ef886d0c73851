"""Sampling of images at given points: affine maps, grids and boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import operation


def unnormalized(points: Tensor, size: int, mode: str, align_corners: bool) -> Tensor:
    """Returns coordinates in positions of an axis.

    Args:
        points: The coordinates.
        size: Length of the axis.
        mode: ``unnormalized``, ``normalized_minus_one_to_one`` or ``normalized_zero_to_one``.
        align_corners: Whether the outermost coordinates are the centers of the outermost values, not their edges.
    """
    if mode == "unnormalized":
        return points
    unit = (points + 1) / 2 if mode == "normalized_minus_one_to_one" else points
    return unit * (size - 1) if align_corners else unit * size - 0.5


def folded(positions: Tensor, size: int, mode: str) -> Tensor:
    """Returns positions moved into an axis as a padding mode says."""
    if mode == "reflection" and size > 1:
        return (size - 1) - (positions.remainder(2 * (size - 1)) - (size - 1)).abs()
    if mode == "symmetric":
        turned = positions.remainder(2 * size)
        return torch.where(turned >= size, 2 * size - 1 - turned, turned)
    return positions.clamp(0, size - 1)


def pixels(x: Tensor, rows: Tensor, columns: Tensor, mode: str, value: float) -> Tensor:
    """Returns the values of ``x [B, C, H, W]`` at whole positions ``[B, h, w]``: ``[B, C, h, w]``."""
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    where = folded(rows, height, mode) * width + folded(columns, width, mode)
    flat = where.reshape(len(x), 1, -1).expand(-1, x.shape[1], -1)
    found = x.flatten(2).gather(2, flat).reshape(*x.shape[:2], *where.shape[1:])
    return torch.where(inside[:, None], found, value) if mode == "constant" else found


def interpolated(x: Tensor, rows: Tensor, columns: Tensor, mode: str, value: float) -> Tensor:
    """Returns the values of ``x [B, C, H, W]`` at any positions ``[B, h, w]``, between their four neighbors."""
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    corners = [
        pixels(x, (top + i).to(torch.int64), (left + j).to(torch.int64), mode, value) for i in (0, 1) for j in (0, 1)
    ]
    upper = corners[0] * (1 - right) + corners[1] * right
    lower = corners[2] * (1 - right) + corners[3] * right
    return upper * (1 - down) + lower * down


@operation()
def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Samples ``x [B, C, H, W]`` at points ``[B, h, w, 2]``, each a column and a row."""
    wide = coordinates.to(torch.float32)
    columns = unnormalized(wide[..., 0], x.shape[-1], coordinates_mode, align_corners)
    rows = unnormalized(wide[..., 1], x.shape[-2], coordinates_mode, align_corners)
    if sampling_mode == "nearest":
        near, beside = (rows + 0.5).floor().to(torch.int64), (columns + 0.5).floor().to(torch.int64)
        return pixels(x, near, beside, padding_mode, padding_value)
    return interpolated(x, rows, columns, padding_mode, padding_value)


@operation()
def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Samples ``x [B, C, H, W]`` where an affine map ``[B or 1, 6]`` sends every position of the output."""
    matrix = transform_matrix.reshape(-1, 2, 3).expand(len(x), 2, 3)
    across = torch.linspace(-1, 1, output_width).expand(output_height, -1)
    down = torch.linspace(-1, 1, output_height)[:, None].expand(-1, output_width)
    points = torch.stack([across, down, torch.ones_like(across)], -1)
    moved = torch.einsum("hwi,bji->bhwj", points, matrix)
    return resample(x, moved, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)


def corners(box: list[float], mode: str) -> tuple[float, float, float, float]:
    """Returns the first row, first column, last row and last column of a box."""
    first, second, third, fourth = box
    if mode.endswith("WIDTH_FIRST"):
        first, second, third, fourth = second, first, fourth, third
    if mode.startswith("CENTER_SIZE"):
        return first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2
    return first, second, third, fourth


def box_points(start: float, end: float, target: int, mode: str) -> Tensor:
    """Returns the points of one axis of a box at which it is sampled."""
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if target == 1:
            return torch.tensor([(start + end) / 2 if mode == "ALIGN_CORNERS" else start])
        return start + torch.arange(target) * ((end - start) / (target - 1))
    length = end - start
    if mode == "DEFAULT":
        spacing = (length - length / target) / max(1, target - 1)
        return start + torch.arange(target) * spacing
    delta = length / target
    if mode == "OFFSET_CORNERS":
        return start + 0.5 * delta + torch.arange(target) * delta
    return start + (torch.arange(target) + 0.5) * delta - 0.5


@operation()
def crop_resize(
    x: Tensor,
    roi: Tensor | None = None,
    boxes: Tensor | None = None,
    box_indices: Tensor | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Cuts boxes out of images ``[B, C, H, W]`` and resizes them.

    Args:
        x: The images.
        roi: Up to iOS 16, boxes ``[N, 1, 4, 1, 1]``, or ``[N, 1, 5, 1, 1]`` with the number of the image first; the
            output is ``[N, 1, C, h, w]``.
        boxes: From iOS 17 on, boxes ``[N, 4]``; the output is ``[N, C, h, w]``.
        box_indices: Numbers of the boxes' images; by default 0, 1, ...
        target_height: Height of the output in pixels.
        target_width: Width of the output in pixels.
        normalized_coordinates: Whether coordinates are shares of the images' height and width less one pixel.
        spatial_scale: Factor of the coordinates.
        box_coordinate_mode: Which corners or sides the four numbers of a box are.
        sampling_mode: Where a box is sampled, as for ``resize_bilinear``.
        pad_value: Value of points outside of the images; none is mixed from it and the pixels next to it.
    """
    rows = boxes if boxes is not None else roi
    assert rows is not None
    table = rows.reshape(len(rows), -1).to(torch.float32)
    if table.shape[1] == 5:
        box_indices, table = table[:, 0], table[:, 1:]
    numbers = range(len(table)) if box_indices is None else [int(number) for number in box_indices.tolist()]
    height, width = x.shape[-2:]
    parts = []
    for number, box in zip(numbers, (table * spatial_scale).tolist(), strict=True):
        top, left, bottom, right = corners(box, box_coordinate_mode)
        if normalized_coordinates:
            top, bottom, left, right = (
                top * (height - 1),
                bottom * (height - 1),
                left * (width - 1),
                right * (width - 1),
            )
        down = box_points(top, bottom, target_height, sampling_mode)[:, None].expand(-1, target_width)
        across = box_points(left, right, target_width, sampling_mode).expand(target_height, -1)
        inside = (down >= 0) & (down <= height - 1) & (across >= 0) & (across <= width - 1)
        found = interpolated(x[number : number + 1], down[None], across[None], "border", pad_value)
        parts.append(torch.where(inside, found, pad_value))
    cut = torch.cat(parts)
    return cut if boxes is not None else cut.unsqueeze(1)
