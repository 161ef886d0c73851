"""What integer kernels compute, to the last bit, as a program that PyTorch runs.

A program with Q/DQ pairs sums products of rounded values in float. Kernels sum products of int8 as int32, and turn each
sum into the next tensor's int8 with one multiplication: those of ONNX Runtime on x86 (MLAS) as well as those of XNNPACK
on x86 and ARM. Few values differ, but in a deep network they make up a good part of the quantization error. To judge a
placement, and to tell a wrong file from rounding, the kernels' own numbers are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.editing import editable, finished
from quantize.folding import constant
from quantize.operators import CONVOLUTION, WEIGHTED
from quantize.patterns import calls, is_dequantized, quantized_output, scale_and_zero_point

LARGEST_EXACT = 2**24
"""Sums of whole numbers are exact in float32 up to this; larger ones are computed in float64."""


@dataclass(frozen=True)
class IntegerLayer:
    """A convolution or linear layer on quantized values.

    Attributes:
        node: Its operator in the program.
        values: Its int8 input.
        zero_point: Zero point of the input.
        weight: Weight, int8 ``[out, ...]``.
        bias: Bias in whole numbers of ``unit``, ``[out]``; None without a bias.
        unit: Scale of the input times that of the weight, float32 ``[out]``.
        quantize: Operator that quantizes its output; None if the output stays in float.
    """

    node: Node
    values: Node
    zero_point: int
    weight: Tensor
    bias: Tensor | None
    unit: Tensor
    quantize: Node | None

    @property
    def dtype(self) -> torch.dtype:
        """The type in which its sums are exact."""
        reach = max(127 - self.zero_point, self.zero_point + 128)
        largest = self.weight.double().abs().flatten(1).sum(1) * reach
        largest = largest if self.bias is None else largest + self.bias.abs()
        return torch.float32 if float(largest.max()) <= LARGEST_EXACT else torch.float64

    @property
    def multiplier(self) -> Tensor:
        """Factor from its sums to its output ``[out]``, in units of the output's scale if the output is quantized."""
        return self.unit if self.quantize is None else self.unit / scale_and_zero_point(self.quantize)[0]


def read_layer(program: GraphModule, node: Node) -> IntegerLayer | None:
    """Returns a layer, or None if no integer kernel computes it."""
    values, weight, bias = (*node.args, None)[:3]
    if not (is_dequantized(values) and is_dequantized(weight)):
        return None
    assert isinstance(values, Node)
    assert isinstance(weight, Node)
    source = values.args[0]
    assert isinstance(source, Node)
    scale, zero_point = scale_and_zero_point(values)
    scales = constant(program, weight.args[1])
    whole = None if bias is None else (constant(program, bias).double() / (scales.double() * scale)).round()
    return IntegerLayer(
        node,
        source,
        zero_point,
        constant(program, weight.args[0]),
        whole,
        torch.tensor(scale, dtype=torch.float32) * scales.float(),
        quantized_output(node),
    )


def write_layer(program: GraphModule, layer: IntegerLayer) -> None:
    """Replaces a layer with sums of whole numbers and one multiplication."""
    graph, node, dtype, name = program.graph, layer.node, layer.dtype, layer.node.name
    aten = torch.ops.aten

    def stored(kind: str, value: Tensor) -> Node:
        program.register_buffer(f"{kind}_of_{name}", value)
        return graph.get_attr(f"{kind}_of_{name}")

    with graph.inserting_before(node):
        whole = graph.call_function(aten.to.dtype, (layer.values, dtype))
        centered = graph.call_function(aten.sub.Tensor, (whole, layer.zero_point))
        bias = None if layer.bias is None else stored("bias", layer.bias.to(dtype))
        weight = stored("weight", layer.weight.to(dtype))
        sums = graph.call_function(node.target, (centered, weight, bias, *node.args[3:]))  # type: ignore[arg-type]
        single = graph.call_function(aten.to.dtype, (sums, torch.float32))
        shape = [1, -1, 1, 1] if calls(node, (CONVOLUTION,)) else [-1]
        scaled = graph.call_function(aten.mul.Tensor, (single, stored("scale", layer.multiplier.reshape(shape))))
    node.replace_all_uses_with(scaled)
    if layer.quantize is not None:
        layer.quantize.update_arg(1, 1.0)


def as_kernels_compute(program: GraphModule) -> GraphModule:
    """Returns a program that computes what integer kernels compute for a quantized one.

    Args:
        program: Program with Q/DQ pairs and weights stored as int8, from normalized float32 images ``[B, 3, S, S]`` to
            corrected and primary ``[B, N]`` and confidence ``[B]``, all float32; not changed.

    Returns:
        A program with the same inputs and outputs.
    """
    exact = editable(program)
    for node in [n for n in exact.graph.nodes if calls(n, WEIGHTED)]:
        if layer := read_layer(exact, node):
            write_layer(exact, layer)
    return finished(exact)
