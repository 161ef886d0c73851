"""Stems, the float convolutions of the image itself, whose sums are made the same in every runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.editing import finished
from quantize.folding import constant
from quantize.operators import CONVOLUTION, DEQUANTIZE
from quantize.patterns import calls, is_dequantized, quantized_output, scale_and_zero_point

GRID = 2.0**-8
"""Unit to which normalized pixels are rounded, a fifth of the step that 8 bits would have."""

LARGEST_PIXEL = 3.0
"""Bound of normalized pixels. With larger ones, sums would not be wrong, but might depend on their order."""

LARGEST_SUM = 2**24
"""float32 holds every whole number up to this, so that sums of whole numbers are exact in any order."""

LARGEST_SCALE = 2**14
"""Largest scale of an output in units of its grid: it keeps values farther from ties than the error of float32."""


def finest_grid(weight: Tensor, bias: Tensor, scale: float) -> float:
    """Returns the unit in which weights and bias may be counted: the smallest power of two that keeps sums exact.

    Args:
        weight: Weight ``[out, in, h, w]``.
        bias: Bias ``[out]``.
        scale: Scale of the quantized output.
    """
    largest_sum = float((weight.abs().sum((1, 2, 3)) * LARGEST_PIXEL + bias.abs()).max())
    unit = max(largest_sum / LARGEST_SUM, scale / LARGEST_SCALE)
    return 2.0 ** math.ceil(math.log2(unit))


def nearest_odd(value: float) -> int:
    """Returns the odd number nearest to a positive value."""
    return 2 * round((value - 1) / 2) + 1


def rounded(value: Tensor, unit: float) -> Tensor:
    """Returns the nearest multiples of a unit."""
    return (value.double() / unit).round().mul(unit).to(value.dtype)


def set_scale(quantize: Node, scale: float, movements: Sequence[str]) -> None:
    """Changes the scale with which a tensor is quantized, for all its readers, and for the tensors that share it.

    Args:
        quantize: Quantizes the tensor.
        scale: The new scale.
        movements: Operators that move values, such as a max-pool: their outputs have the scale of their input.
    """
    quantize.update_arg(1, scale)
    for dequantize in [user for user in quantize.users if calls(user, (DEQUANTIZE,))]:
        dequantize.update_arg(1, scale)
        for moved in [user for user in dequantize.users if calls(user, movements)]:
            after = quantized_output(moved)
            if after is not None:
                set_scale(after, scale, movements)


def shows_image(values: Any) -> bool:
    """Tells whether a tensor is the input of a program, or follows from it without any parameter."""
    while values.op != "placeholder":
        if len(values.all_input_nodes) != 1 or is_dequantized(values):
            return False
        (values,) = values.all_input_nodes
    return True


def make_stems_exact(program: GraphModule, movements: Sequence[str] = ()) -> None:
    """Rounds inputs and weights of float convolutions with quantized outputs so that sums are exact, in place.

    Every runtime adds the products of a convolution in its own order. Sums that differ in the last digit are rounded to
    int8 differently: a value or two per image, which a deep network amplifies. Here pixels, weights and bias are whole
    numbers of small units, so that no sum is ever rounded, and the scale of the output is an odd number of them, so
    that no sum lies halfway between two quantized values.

    Only convolutions that read the image are stems. Others in float, such as those that a gate restored, see values of
    any size, for which these units may be far too large.

    Args:
        program: Program to change.
        movements: Operators whose outputs have the scale of their input, as in a recipe.
    """
    pixels: dict[Node, Node] = {}
    for node in [n for n in program.graph.nodes if calls(n, (CONVOLUTION,))]:
        quantize = quantized_output(node)
        if not shows_image(node.args[0]) or len(node.args) < 3 or node.args[2] is None or quantize is None:
            continue
        weight, bias = constant(program, node.args[1]), constant(program, node.args[2])
        scale, _ = scale_and_zero_point(quantize)
        unit = finest_grid(weight, bias, scale)
        set_scale(quantize, nearest_odd(scale / unit) * unit, movements)
        values = node.args[0]
        if values not in pixels:
            with program.graph.inserting_before(node):
                counted = program.graph.call_function(torch.ops.aten.mul.Tensor, (values, 1 / GRID))
                pixels[values] = program.graph.call_function(torch.ops.aten.round.default, (counted,))
        stored = []
        for name, value in (("weight", weight * GRID), ("bias", bias)):
            program.register_buffer(f"exact_{name}_{node.name}", rounded(value, unit))
            with program.graph.inserting_before(node):
                stored.append(program.graph.get_attr(f"exact_{name}_{node.name}"))
        node.args = (pixels[values], *stored, *node.args[3:])
    finished(program)
