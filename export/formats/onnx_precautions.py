"""What an ONNX file needs so that ONNX Runtime computes the program that it holds. All changes are in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

PASSING: Final = ("Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
"""Operators that pass on the values of a tensor."""

POOLING: Final = ("MaxPool",)
"""Operators that pass on some of them, past which ONNX Runtime moves Q/DQ pairs, too."""

ROUNDED: Final = ("Conv", "ConvTranspose", "Gemm")
"""Operators whose float weights ONNX Runtime rounds to 8 bits if inputs and outputs are quantized."""

STEPS: Final = 2**24
"""Steps of the largest bias of a layer; float32 holds all of them exactly."""


def producer_of(tensor: str, made: Mapping[str, Any], through: Sequence[str]) -> Any:
    """Returns the node that produced a tensor, before operators that pass it on; None for inputs and weights."""
    node = made.get(tensor)
    while node is not None and node.op_type in through:
        node = made.get(node.input[0])
    return node


def remove_unread(graph: Any, names: Iterable[str]) -> None:
    """Removes constants that no operator reads any more."""
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in set(names) - read]:
        graph.initializer.remove(tensor)


def separate_zero_points(graph: Any) -> None:
    """Gives every dequantized weight zero points of its own.

    ONNX Runtime turns int8 weights into uint8 on some processors, and their zero points with them. It fails if two
    weights share these.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored and len(node.input) > 2:
            copy = graph.initializer.add()
            copy.CopyFrom(stored[node.input[2]])
            copy.name = node.input[2] = f"{node.input[0]}_zero_point"
    remove_unread(graph, stored)


def keep_in_float(graph: Any) -> None:
    """Makes sure that layers with float weights are computed in float.

    Between quantized tensors, ONNX Runtime rounds the weights of a float layer to 8 bits of its own accord, with one
    scale for all channels (its optimizer ``WeightBiasQuantization``), and loses more than the layer was kept in float
    for. It leaves alone a layer whose bias is computed, and a dequantized bias counts as such until all Q/DQ pairs are
    settled. Then it becomes a constant, so that this costs no time.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        source = producer_of(node.input[0], made, (*PASSING, *POOLING)) if node.op_type in ROUNDED else None
        if source is not None and source.op_type == "DequantizeLinear" and node.input[1] in stored:
            nodes.append(compute_bias(graph, node, stored))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    remove_unread(graph, stored)


def channels_of(node: Any, weight: Sequence[int]) -> int:
    """Returns the size of a layer's bias, from the dimensions of its weight."""
    if node.op_type == "Conv":
        return weight[0]
    if node.op_type == "Gemm":
        return 1
    return weight[1] * next((a.i for a in node.attribute if a.name == "group"), 1)


def compute_bias(graph: Any, node: Any, stored: Mapping[str, Any]) -> Any:
    """Gives a layer a bias that is dequantized from int32, and returns what dequantizes it."""
    import numpy as np
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array, to_array

    if len(node.input) < 3:
        node.input.append("")
    if node.input[2]:
        bias = to_array(stored[node.input[2]]).astype(np.float64)
    else:
        bias = np.zeros(channels_of(node, stored[node.input[1]].dims))
    step = np.float32((np.abs(bias).max() or 1.0) / STEPS)
    name = f"{node.output[0]}_bias"
    graph.initializer.append(from_array(np.round(bias / step).astype(np.int32), f"{name}_steps"))
    graph.initializer.append(from_array(np.array(step), f"{name}_step"))
    node.input[2] = name
    return make_node("DequantizeLinear", [f"{name}_steps", f"{name}_step"], [name], name=name)
