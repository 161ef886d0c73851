"""Clamps between a layer and the rounding of its output, such as ReLU6, which rounding makes superfluous."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from quantize.editing import finished
from quantize.operators import QUANTIZE, RELU6
from quantize.patterns import calls, only_user, scale_and_zero_point


def bounds(clamp: Node) -> tuple[float, float]:
    """Returns the smallest and the largest value that a clamp lets through."""
    if "hardtanh" not in str(clamp.target):
        return 0.0, 6.0
    numbers = dict(enumerate(clamp.args))
    return float(numbers.get(1, -1.0)), float(numbers.get(2, 1.0))  # type: ignore[arg-type]


def remove_clamps(program: GraphModule) -> None:
    """Removes clamps before a rounding that cuts values off at the same bounds or earlier, in place.

    The numbers stay the same. Kernels fuse a ReLU with a layer, and round its output once; converters and runtimes
    treat other clamps each in their own way, and some round before and after.
    """
    for clamp in [node for node in program.graph.nodes if calls(node, RELU6)]:
        rounding = only_user(clamp, (QUANTIZE,))
        if rounding is None:
            continue
        (low, high), (scale, zero_point) = bounds(clamp), scale_and_zero_point(rounding)
        smallest, largest = rounding.args[3:5]
        # What lies beyond the middle between the last two integers is rounded to the last one in any case.
        if low < (smallest - zero_point + 0.5) * scale and high > (largest - zero_point - 0.5) * scale:  # type: ignore[operator]
            clamp.replace_all_uses_with(clamp.all_input_nodes[0])
    finished(program)
