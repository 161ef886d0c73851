"""What an INT8 file computes in float between its layers, value by value, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from arbex.provenance import Elementwise, Recipe
from quantize.operators import ATTENTION, PRODUCTS, UNROUNDED, WEIGHTED
from quantize.placement import in_head, quantized_outputs
from quantize.program import blank_input

COMPUTING = (
    *("prelu", "relu", "relu_", "leaky_relu", "gelu", "silu", "silu_", "hardswish", "hardswish_", "elu", "sigmoid"),
    *("hardsigmoid", "hardtanh", "hardtanh_", "tanh", "softmax", "exp", "log", "sqrt", "rsqrt", "pow"),
    *("add", "add_", "sub", "mul", "mul_", "div", "maximum", "minimum", "clamp", "mean", "sum"),
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "avg_pool2d", "adaptive_avg_pool2d"),
)
"""Operators of ATen that compute values; all others only move them."""

ACCELERATED = "the accelerator computes everything between its layers in half precision"
ROUNDING = "stays in float on purpose: rounding it would cost agreement"
REASONS = {
    "prelu": "one slope per channel, for which no runtime has an integer kernel",
    "batch_norm": "precedes a padded convolution, into which it cannot be folded",
    "add": "sums with a term in float, such as the shortcuts of a transformer",
    "add_": "sums with a term in float, such as the shortcuts of a transformer",
}


class Counter(Interpreter):
    """Counts the values that each operator outputs."""

    def __init__(self, program: GraphModule) -> None:
        """Starts with nothing counted."""
        super().__init__(program)
        self.values: dict[Node, int] = {}

    def run_node(self, n: Node) -> Any:
        """Computes an operator and counts its values."""
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.values[n] = value.numel()
        return value


def short_name(node: Node) -> str:
    """Returns ``relu`` for ``aten.relu.default``; an empty string if no tensor is computed."""
    parts = str(node.target).split(".")
    return parts[1] if node.op == "call_function" and parts[0] == "aten" else ""


@torch.no_grad()
def count_values(folded: GraphModule) -> dict[Node, int]:
    """Returns how many values each operator outputs for one image."""
    counter = Counter(folded)
    counter.run(blank_input(folded))
    return counter.values


def list_elementwise(folded: GraphModule, values: Mapping[Node, int], recipe: Recipe) -> tuple[Elementwise, ...]:
    """Returns the operators in float that are neither in the head nor layers, most values first.

    Args:
        folded: The traced program with batch norms folded, without observers.
        values: Result of ``count_values`` for it.
        recipe: Recipe with which the file was quantized.
    """
    quantized = quantized_outputs(folded, recipe)
    found: dict[str, list[int]] = defaultdict(list)
    for node, count in values.items():
        name = short_name(node)
        is_layer = str(node.target) in (*WEIGHTED, *UNROUNDED, ATTENTION, *PRODUCTS)
        if name in COMPUTING and not is_layer and node not in quantized and not in_head(node):
            found[name].append(count)
    rows = [
        Elementwise(
            operator=name,
            operators=len(counts),
            values=sum(counts),
            reason=REASONS.get(name, ROUNDING) if recipe.outputs else ACCELERATED,
        )
        for name, counts in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.values))
