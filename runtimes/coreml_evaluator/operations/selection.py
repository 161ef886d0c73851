"""Sorting, selecting and counting."""

from __future__ import annotations

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import operation


@operation()
def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """Returns the positions of an axis in the order of its values."""
    return torch.argsort(x, dim=axis, descending=not ascending, stable=True)


@operation()
def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """Returns the ``k`` largest values of an axis, or the smallest if ``ascending``, and their positions."""
    values, order = torch.sort(x, dim=axis, descending=not ascending, stable=True)
    count = x.shape[axis] if k == -1 else k
    found = values.narrow(axis, 0, count), order.narrow(axis, 0, count)
    return found if return_indices else found[:1]


@operation()
def non_zero(x: Tensor) -> Tensor:
    """Returns the positions of all values other than 0, one per row."""
    return torch.nonzero(x)


@operation()
def one_hot(
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """Returns vectors that hold one value at an index, by default 1, and another one elsewhere, by default 0."""
    on = torch.ones((), dtype=torch.int32) if on_value is None else on_value
    off = torch.zeros_like(on) if off_value is None else off_value
    numbers = indices.to(torch.int64)
    numbers = torch.where(numbers < 0, numbers + one_hot_vector_size, numbers)
    place = axis % (indices.ndim + 1)
    hot = (numbers.unsqueeze(-1) == torch.arange(one_hot_vector_size)).movedim(-1, place)
    return torch.where(hot, on, off)


def overlaps(boxes: Tensor) -> Tensor:
    """Returns the intersection over union of every two boxes, whose rows are center, width and height: ``[N, N]``."""
    center, size = boxes[:, :2], boxes[:, 2:]
    start, end = center - size / 2, center + size / 2
    common = (torch.minimum(end[:, None], end) - torch.maximum(start[:, None], start)).clamp(min=0).prod(-1)
    areas = size.prod(-1)
    return common / (areas[:, None] + areas - common)


def kept(boxes: Tensor, scores: Tensor, iou: float, least: float, most: int, per_class: bool) -> list[int]:
    """Returns the numbers of the boxes of one image that remain, in descending order of their best score."""
    best, classes = scores.max(-1)
    shared = overlaps(boxes)
    found: list[int] = []
    for number in torch.argsort(best, descending=True, stable=True).tolist():
        if best[number] < least or len(found) == most:
            break
        rivals = [other for other in found if not per_class or classes[other] == classes[number]]
        if all(shared[number, other] <= iou for other in rivals):
            found.append(number)
    return found


@operation()
def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    max_boxes: int,
    score_threshold: float | None = None,
    per_class_suppression: bool = False,
    op_set: int = 17,
) -> tuple[Tensor, ...]:
    """Returns boxes, scores and numbers of the boxes that overlap no better one, and, up to iOS 16, how many they are.

    From iOS 17 on, boxes are the last axis: ``[B, 4, N]`` instead of ``[B, N, 4]``. Places without a box hold zeros and
    the number -1.
    """
    boxes_last = op_set >= 17
    if boxes_last:
        boxes, scores = boxes.mT, scores.mT
    least = float("-inf") if score_threshold is None else score_threshold
    out_boxes = torch.zeros(len(boxes), max_boxes, 4)
    out_scores = torch.zeros(len(boxes), max_boxes, scores.shape[-1])
    out_numbers = torch.full((len(boxes), max_boxes), -1)
    counts = torch.zeros(len(boxes), dtype=torch.int64)
    for image, (own, values) in enumerate(zip(boxes, scores, strict=True)):
        found = kept(own, values, iou_threshold, least, max_boxes, per_class_suppression)
        counts[image] = len(found)
        out_boxes[image, : len(found)] = own[found]
        out_scores[image, : len(found)] = values[found]
        out_numbers[image, : len(found)] = torch.tensor(found, dtype=torch.int64)
    if boxes_last:
        return out_boxes.mT, out_scores.mT, out_numbers
    return out_boxes, out_scores, out_numbers, counts
