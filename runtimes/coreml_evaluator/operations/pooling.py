"""Pooling along one, two or three axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from runtimes.coreml_evaluator.operations.convolution import padded, paddings
from runtimes.coreml_evaluator.operations.registry import Ints, operation

MAXIMUM = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
MEAN = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pooling operation lie.

    Attributes:
        kernels: Their lengths.
        strides: Their distances.
        around: Padding before and after every axis.
        beyond: Values after the padding that the last window of every axis needs.
    """

    kernels: Ints
    strides: Ints
    around: list[tuple[int, int]]
    beyond: list[tuple[int, int]]

    def fill(self, x: Tensor, value: float, beyond: float | None = None) -> Tensor:
        """Returns a tensor with one value in the padding, and the same or another one beyond it."""
        return padded(padded(x, self.around, value), self.beyond, value if beyond is None else beyond)

    def sums(self, x: Tensor) -> Tensor:
        """Returns the sum of every window of a padded tensor."""
        return MEAN[len(self.kernels)](x, self.kernels, self.strides) * math.prod(self.kernels)


def place(x: Tensor, kernels: Ints, strides: Ints | None, pad_type: str, pad: Ints | None, ceil_mode: bool) -> Windows:
    """Returns the windows for an input; with ``ceil_mode``, the last one may reach beyond the padding."""
    steps = strides or (1,) * len(kernels)
    around = paddings(pad_type, pad, tuple(x.shape[2:]), kernels, steps, (1,) * len(kernels))
    beyond = [(0, 0)] * len(kernels)
    if ceil_mode:
        for i, ((before, after), kernel, stride) in enumerate(zip(around, kernels, steps, strict=True)):
            size = x.shape[2 + i]
            outputs = math.ceil((size + before + after - kernel) / stride) + 1
            if (outputs - 1) * stride >= size + before:  # the last window would start in the padding
                outputs -= 1
            beyond[i] = (0, max(0, (outputs - 1) * stride + kernel - size - before - after))
    return Windows(kernels, steps, around, beyond)


@operation()
def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Returns the largest value of every window."""
    windows = place(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return MAXIMUM[len(kernel_sizes)](windows.fill(x, -math.inf), windows.kernels, windows.strides)


@operation()
def l2_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Returns the Euclidean norm of every window."""
    windows = place(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    return windows.sums(windows.fill(x, 0.0).square()).sqrt()


@operation()
def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """Returns the mean of every window, with padding or without; what ``ceil_mode`` adds never counts."""
    windows = place(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    ones = torch.ones_like(x[:1, :1])
    counted = windows.fill(ones, 0.0 if exclude_padding_from_average else 1.0, beyond=0.0)
    return windows.sums(windows.fill(x, 0.0)) / windows.sums(counted)
