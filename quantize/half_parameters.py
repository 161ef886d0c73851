"""Parameters in float16: rounded in the program itself, so that every format stores what the program computes with."""

from __future__ import annotations

from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.editing import finished
from quantize.folding import attribute
from quantize.placement import in_head


def round_parameters(program: GraphModule) -> None:
    """Rounds all float parameters before the head to float16, in place.

    Formats that compute in float16 there store them so. If only they did, a value at the border between two integers
    would be rounded the other way here and there, and a deep network turns that into an error as large as that of INT8.
    """
    for node in [n for n in program.graph.nodes if n.op == "get_attr"]:
        value = attribute(program, str(node.target))
        if not isinstance(value, Tensor) or not value.is_floating_point() or all(map(in_head, users(node))):
            continue
        name = f"{str(node.target).replace('.', '_')}_half"
        program.register_buffer(name, value.detach().half().to(value.dtype))
        node.target = name
    finished(program)


def users(node: Node) -> list[Node]:
    """Returns the nodes that read a node."""
    return list(node.users)
