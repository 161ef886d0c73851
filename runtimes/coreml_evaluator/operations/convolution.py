"""Convolutions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from runtimes.coreml_evaluator.operations.registry import Ints, operation

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def same_padding(size: int, kernel: int, stride: int, dilation: int, *, lower: bool) -> tuple[int, int]:
    """Returns how many values before and after an axis make its output ceil(size / stride) long.

    Args:
        size: Length of the axis.
        kernel: Length of the kernel.
        stride: Distance of its positions.
        dilation: Distance of its values.
        lower: Whether an odd value is added before the axis and not after it.
    """
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def paddings(
    pad_type: str, pad: Ints | None, sizes: Ints, kernels: Ints, strides: Ints, dilations: Ints
) -> list[tuple[int, int]]:
    """Returns the padding before and after every spatial axis.

    Args:
        pad_type: ``valid``, ``same``, ``same_lower`` or ``custom``.
        pad: For ``custom``, the two numbers of every axis.
        sizes: Lengths of the axes.
        kernels: Lengths of the kernel.
        strides: Strides.
        dilations: Dilations.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        assert pad is not None
        return list(zip(pad[::2], pad[1::2], strict=True))
    axes = zip(sizes, kernels, strides, dilations, strict=True)
    return [same_padding(*axis, lower=pad_type == "same_lower") for axis in axes]


def padded(x: Tensor, around: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """Returns a tensor with padding around its last axes."""
    if not any(any(pair) for pair in around):
        return x
    return functional.pad(x, [number for pair in reversed(around) for number in pair], value=value)


@operation()
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Convolves ``x [B, C, ...]`` along one, two or three axes with ``weight [O, C / groups, ...]``."""
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    around = paddings(pad_type, pad, tuple(x.shape[2:]), tuple(weight.shape[2:]), strides, dilations)
    if all(before == after for before, after in around):
        symmetric = tuple(before for before, _ in around)
        return CONVOLVE[rank](x, weight, bias, strides, symmetric, dilations, groups)
    return CONVOLVE[rank](padded(x, around), weight, bias, strides, 0, dilations, groups)


@operation()
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Spreads ``x [B, C, ...]`` with ``weight [C, O / groups, ...]``, and cuts what padding would have been.

    Args:
        x: The input.
        weight: The kernel.
        bias: Added per output channel.
        pad: For ``custom``, how many values are cut before and after every axis.
        output_shape: Shape of the output; its last axes decide how much is cut after each of them.
        pad_type: ``valid``, ``same``, ``same_lower`` or ``custom``.
        strides: Strides.
        dilations: Dilations.
        groups: Number of groups.
    """
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    full = TRANSPOSED[rank](x, weight, bias, strides, 0, 0, groups, dilations)
    for axis, stride in enumerate(strides):
        length, size = full.shape[2 + axis], x.shape[2 + axis]
        wanted = output_shape[len(output_shape) - rank + axis] if output_shape else None
        if pad_type in ("same", "same_lower"):
            wanted = wanted or size * stride
            total = max(0, length - wanted)
            before = total - total // 2 if pad_type == "same_lower" else total // 2
        else:
            cut = pad[2 * axis : 2 * axis + 2] if pad and pad_type == "custom" else (0, 0)
            before, wanted = cut[0], wanted or length - sum(cut)
        short = max(0, before + wanted - length)
        if short:  # positions that no value of the input reaches hold the bias alone
            full = extended(full, 2 + axis, short, bias)
        full = full.narrow(2 + axis, before, wanted)
    return full


def extended(x: Tensor, axis: int, count: int, bias: Tensor | None) -> Tensor:
    """Returns a tensor with more positions at the end of an axis, which hold the bias of their channel."""
    around = [(0, 0)] * (x.ndim - 2)
    around[axis - 2] = (0, count)
    longer = padded(x, around)
    if bias is not None:
        longer.narrow(axis, x.shape[axis], count).add_(bias.reshape(-1, *[1] * (x.ndim - 2)))
    return longer
