"""Half precision for everything but the head, as an edit of the traced program."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from quantize.editing import editable, finished
from quantize.patterns import is_dequantized, is_quantized
from quantize.placement import in_head


def find_head(program: GraphModule) -> set[Node]:
    """Returns the nodes that compute in float32: the head, and all that follows from it."""
    head: set[Node] = set()
    for node in program.graph.nodes:
        follows = any(n in head for n in node.all_input_nodes)
        if node.op == "call_function" and (follows or in_head(node)):
            head.add(node)
    return head


def to_half(program: GraphModule) -> GraphModule:
    """Returns a program whose encoder computes in float16 and whose head stays in float32.

    Weights of the encoder become float16; casts stand at the input, at the border of the head, and around
    Q/DQ pairs, whose scales stay float32. Inputs and outputs stay float32.
    """
    half = editable(program)
    graph, head = half.graph, find_head(half)
    cast = torch.ops.aten.to.dtype
    attributes: dict[str, Node] = {n.target: n for n in graph.nodes if n.op == "get_attr"}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            continue
        floats = torch.float32 if node in head or is_quantized(node) or node.op == "output" else torch.float16
        if is_dequantized(node):
            continue
        for source in list(node.all_input_nodes):
            produced = torch.float32 if source in head or source.op == "placeholder" or is_dequantized(source) else None
            if source.op == "get_attr" or not produces_float(source):
                continue
            produced = produced or torch.float16
            if produced != floats:
                with graph.inserting_before(node):
                    node.replace_input_with(source, graph.call_function(cast, (source, floats)))
    halve_attributes(half, attributes, head)
    return finished(half)


def produces_float(node: Node) -> bool:
    """Tells whether a node's value is a floating-point tensor."""
    value = node.meta.get("val")
    if is_quantized(node):
        return False
    return isinstance(value, torch.Tensor) and value.is_floating_point() if value is not None else is_dequantized(node)


def halve_attributes(program: GraphModule, attributes: dict[str, Node], head: set[Node]) -> None:
    """Turns the float32 weights that only the encoder reads into float16, in place."""
    for name, node in attributes.items():
        readers = set(node.users)
        if readers & head or any(is_quantized(n) or is_dequantized(n) for n in readers):
            continue
        owner_path, _, leaf = name.rpartition(".")
        owner = program.get_submodule(owner_path)
        tensor = getattr(owner, leaf)
        if tensor.dtype != torch.float32:
            continue
        if isinstance(tensor, torch.nn.Parameter):
            setattr(owner, leaf, torch.nn.Parameter(tensor.detach().half(), requires_grad=False))
        else:
            setattr(owner, leaf, tensor.half())
