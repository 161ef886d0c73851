"""Parameters in float16: rounded in the program itself, so that every format stores what the program computes with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.editing import finished
from quantize.folding import attribute, constant
from quantize.operators import ATTENTION
from quantize.patterns import calls
from quantize.placement import in_head

LAYER_NORM = "aten.layer_norm.default"
EPSILON = 4
"""Position of the epsilon among the arguments of a layer norm."""


def round_parameters(program: GraphModule) -> None:
    """Rounds all float parameters before the head to float16, in place, and likewise constants within operators.

    What follows from parameters alone, such as the sum of a token and its position, is computed first: converters do so
    too, and round the result.

    Formats that compute in float16 there store them so. If only they did, a value at the border between two integers
    would be rounded the other way here and there, and a deep network turns that into an error as large as that of INT8.
    """
    fold_sums(program)
    for i, node in enumerate(n for n in program.graph.nodes if n.op == "get_attr"):
        value = attribute(program, str(node.target))
        if not isinstance(value, Tensor) or not value.is_floating_point() or all(map(is_kept, node.users)):
            continue
        name = f"half_parameter_{i}"
        program.register_buffer(name, value.detach().half().to(value.dtype))
        node.target = name
    for node in [n for n in program.graph.nodes if not in_head(n)]:
        if calls(node, (LAYER_NORM,)) and len(node.args) > EPSILON:
            node.update_arg(EPSILON, in_half(node.args[EPSILON]))
        elif calls(node, (ATTENTION,)):
            scale = node.kwargs.get("scale") or node.args[0].meta["val"].shape[-1] ** -0.5
            node.update_kwarg("scale", in_half(scale))
    finished(program)


def is_kept(user: Node) -> bool:
    """Tells whether an operator reads parameters in float32: those in the head, and those that quantize weights."""
    return in_head(user) or "quantize_per" in str(user.target)


def in_half(value: float) -> float:
    """Returns the nearest number of float16."""
    return float(torch.tensor(value).half())


def fold_sums(program: GraphModule) -> None:
    """Replaces tensors before the head that follow from parameters alone with their values, in place.

    Weights in int8 stay as they are.
    """
    fixed: set[Node] = set()
    for node in program.graph.nodes:
        sources = node.all_input_nodes
        is_result = node.op == "call_function" and sources and fixed.issuperset(sources)
        if node.op == "get_attr" or (is_result and "quantize" not in str(node.target) and not in_head(node)):
            fixed.add(node)
    for node in [n for n in program.graph.nodes if n in fixed and n.op != "get_attr" and not fixed.issuperset(n.users)]:
        with torch.no_grad():
            value = constant(program, node)
        if isinstance(value, Tensor):
            program.register_buffer(f"{node.name}_value", value.detach().contiguous())
            with program.graph.inserting_before(node):
                folded = program.graph.get_attr(f"{node.name}_value")
            folded.meta.update(node.meta)
            node.replace_all_uses_with(folded)
    program.graph.eliminate_dead_code()
