"""Rewrites of a program of batch 1 into what XNNPACK runs in one piece.

ExecuTorch gives XNNPACK the largest parts of a graph of which it supports every operator. Between two parts, maps are
transposed from NHWC to NCHW and back, and operators that XNNPACK does not support run in portable kernels, value by
value. None of these rewrites changes a number by more than the order of a sum does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from quantize.editing import editable, finished, replace_uses
from quantize.folding import attribute, constant
from quantize.operators import ATTENTION, DEQUANTIZE, QUANTIZE
from quantize.patterns import calls, is_dequantized

UNSQUEEZING = ("aten.unsqueeze.default", "aten.squeeze.dim", "aten.flatten.using_ints")
RESHAPING = ("aten.reshape.default", "aten.view.default")
DOING_NOTHING = ("aten.alias.default", "aten.dropout.default", "aten.lift_fresh_copy.default")
ROUND, SLICE, STACK, UNBIND = "aten.round.default", "aten.slice.Tensor", "aten.stack.default", "aten.unbind.int"
DEQUANTIZE_CHANNELS = "quantized_decomposed.dequantize_per_channel.default"

ROUNDING = 1.5 * 2**23
"""Adding it to a float32 below 2 ** 22 and subtracting it again leaves the nearest whole number, ties to even."""


class Edit:
    """A copy of a program in which operators are replaced, one after the other."""

    def __init__(self, program: GraphModule) -> None:
        """Copies the graph; tensors are shared."""
        self.program = editable(program)
        self.graph = self.program.graph
        self.constants = 0

    def calls_of(self, *operators: str) -> list[Any]:
        """Returns the nodes that call one of the operators, as ``Any``, since torch does not type their arguments."""
        return [node for node in self.graph.nodes if calls(node, operators)]

    def insert(self, before: Node, operator: Callable[..., Any], *arguments: Any) -> Node:
        """Adds a call before a node."""
        with self.graph.inserting_before(before):
            return self.graph.call_function(operator, arguments)

    def store(self, before: Node, value: Tensor) -> Node:
        """Adds a constant with the strides of a new tensor, and returns the node that reads it.

        A dimension of size 1 may have any stride. From the strides of a permuted table, ExecuTorch may conclude that it
        is in channels-last order; XNNPACK then receives wrong dimensions and fails when it runs.
        """
        while hasattr(self.program, f"constant_{self.constants}"):
            self.constants += 1
        name = f"constant_{self.constants}"
        self.program.register_buffer(name, torch.empty(value.shape, dtype=value.dtype).copy_(value.detach()))
        with self.graph.inserting_before(before):
            node = self.graph.get_attr(name)
        node.meta["val"] = attribute(self.program, name)
        return node

    def replace(self, old: Node, new: Node) -> None:
        """Makes all readers of a node read another one, which has the same shape and type."""
        new.meta.setdefault("val", old.meta["val"])
        replace_uses(old, new)

    def done(self) -> GraphModule:
        """Returns the program after the edit."""
        return finished(self.program)


def shape_of(node: Any) -> list[int]:
    """Returns the shape of a node's output."""
    return [int(size) for size in node.meta["val"].shape]


def trace_one(deployed: nn.Module, side: int) -> GraphModule:
    """Returns a deployed program with batch 1, in which every shape is a constant."""
    with torch.no_grad():
        exported = torch.export.export(deployed, (torch.zeros(1, side, side, 3, dtype=torch.uint8),))
        program: GraphModule = exported.module()
    return program


def store_constants(program: GraphModule) -> GraphModule:
    """Returns a program that stores what follows from weights alone as constants; int8 weights stay int8."""
    edit = Edit(program)
    known: dict[Node, Any] = {}
    for node in list(edit.graph.nodes):
        if node.op == "get_attr":
            known[node] = attribute(edit.program, str(node.target))
        inputs = node.all_input_nodes
        if node.op != "call_function" or not inputs or not all(n in known for n in inputs) or is_dequantized(node):
            continue
        args, kwargs = (torch.fx.map_arg(given, known.__getitem__) for given in (node.args, node.kwargs))
        with torch.no_grad():
            known[node] = node.target(*args, **kwargs)
    for node in [n for n in known if isinstance(known[n], Tensor) and any(user not in known for user in n.users)]:
        if node.op != "get_attr" or known[node].stride() != torch.empty(known[node].shape).stride():
            edit.replace(node, edit.store(node, known[node]))
    return edit.done()


def remove_no_ops(program: GraphModule) -> GraphModule:
    """Returns a program without operators that return their input unchanged."""
    edit = Edit(program)
    for node in edit.calls_of("aten._assert_tensor_metadata.default"):
        edit.graph.erase_node(node)
    same_type = [n for n in edit.calls_of("aten.to.dtype") if n.args[0].meta["val"].dtype == n.args[1]]
    same_shape = [n for n in edit.calls_of("aten.expand.default") if shape_of(n) == shape_of(n.args[0])]
    for node in (*edit.calls_of(*DOING_NOTHING), *same_type, *same_shape):
        edit.replace(node, node.args[0])
    return edit.done()


def scale_biases(program: GraphModule) -> GraphModule:
    """Returns a program whose int8 position biases are converted to floats first and then multiplied by their scales.

    ExecuTorch's own kernels cannot dequantize per channel, and XNNPACK can only before a layer.
    """
    edit = Edit(program)
    for attention in edit.calls_of(ATTENTION):
        for bias in [n for n in attention.args[3:4] if calls(n, (DEQUANTIZE_CHANNELS,))]:
            stored, scales = (constant(edit.program, n) for n in bias.args[:2])
            units = (1.0, 0, -128, 127, torch.int8)
            kept = edit.store(attention, stored)
            floats = edit.insert(attention, torch.ops.quantized_decomposed.dequantize_per_tensor.default, kept, *units)
            heads = edit.store(attention, scales.float().reshape(1, -1, 1, 1))
            edit.replace(bias, edit.insert(attention, torch.ops.aten.mul.Tensor, floats, heads))
    return edit.done()


def spell_out_attentions(program: GraphModule) -> GraphModule:
    """Returns a program whose attentions are batched products of matrices and a softmax.

    ExecuTorch's own decomposition guards against rows that are masked entirely, which takes six operators that XNNPACK
    does not support, and expands tensors that need no expansion.
    """
    edit = Edit(program)
    ops = torch.ops.aten
    for attention in edit.calls_of(ATTENTION):
        query, key, value, *rest = attention.args
        batch, heads, tokens, width = shape_of(query)
        others = shape_of(key)[2]

        def matrices(values: Any, *shape: int, before: Node = attention, stacked: int = batch * heads) -> Node:
            return edit.insert(before, ops.reshape.default, values, [stacked, *shape])

        scaled = edit.insert(attention, ops.mul.Tensor, query, width**-0.5)
        turned = edit.insert(attention, ops.permute.default, key, [0, 1, 3, 2])
        scores = edit.insert(
            attention, ops.bmm.default, matrices(scaled, tokens, width), matrices(turned, width, others)
        )
        if rest and rest[0] is not None:
            apart = edit.insert(attention, ops.reshape.default, scores, [batch, heads, tokens, others])
            scores = matrices(edit.insert(attention, ops.add.Tensor, apart, rest[0]), tokens, others)
        weights = edit.insert(attention, ops.softmax.int, scores, -1)
        answers = edit.insert(attention, ops.bmm.default, weights, matrices(value, others, width))
        edit.replace(attention, edit.insert(attention, ops.reshape.default, answers, shape_of(attention)))
    return edit.done()


def spell_out_shapes(program: GraphModule) -> GraphModule:
    """Returns a program that takes tensors apart and joins them by slices, reshapes to fixed shapes, and ``cat``."""
    edit = Edit(program)
    reshape = torch.ops.aten.reshape.default
    for node in edit.calls_of(*RESHAPING):
        node.update_arg(1, shape_of(node))
    for node in edit.calls_of(*UNSQUEEZING):
        edit.replace(node, edit.insert(node, reshape, node.args[0], shape_of(node)))
    for node in edit.calls_of(UNBIND):
        source, axis = (*node.args, 0)[:2]
        for item in list(node.users):
            part = edit.insert(item, torch.ops.aten.slice.Tensor, source, axis, item.args[1], item.args[1] + 1)
            edit.replace(item, edit.insert(item, reshape, part, shape_of(item)))
    for node in edit.calls_of(STACK):
        axis = node.args[1] if len(node.args) > 1 else 0
        parts = []
        for source in node.args[0]:
            shape = shape_of(source)
            parts.append(edit.insert(node, reshape, source, [*shape[:axis], 1, *shape[axis:]]))
        edit.replace(node, edit.insert(node, torch.ops.aten.cat.default, parts, axis))
    return edit.done()


def round_by_adding(program: GraphModule) -> GraphModule:
    """Returns a program that rounds by an addition and a subtraction; see ``ROUNDING``."""
    edit = Edit(program)
    for node in edit.calls_of(ROUND):
        added = edit.insert(node, torch.ops.aten.add.Tensor, node.args[0], ROUNDING)
        edit.replace(node, edit.insert(node, torch.ops.aten.sub.Tensor, added, ROUNDING))
    return edit.done()


def steps_of(node: Any) -> list[int] | None:
    """Returns the strides of a slice along rows and columns of maps; None for a slice of another kind."""
    if not calls(node, (SLICE,)) or len(node.args) < 5 or node.args[4] == 1:
        return None
    source, axis, start, end, step = node.args
    whole = start in (None, 0) and (end is None or end >= shape_of(source)[axis])
    if len(shape_of(source)) != 4 or axis not in (2, 3) or not whole:
        return None
    return [step, 1] if axis == 2 else [1, step]


def subsample_by_convolution(program: GraphModule) -> GraphModule:
    """Returns a program in which convolutions with a weight of 1 take the place of slices with strides.

    XNNPACK has no slice with strides. Between Q/DQ pairs, the weight is the int8 value 1 with the scale 1. Slices along
    rows and columns that follow each other, with only Q/DQ pairs between them, become one convolution.
    """
    edit = Edit(program)
    for last in reversed(edit.calls_of(SLICE)):
        steps, source = steps_of(last), last.args[0]
        if steps is None:
            continue
        earlier = source
        while calls(earlier, (QUANTIZE, DEQUANTIZE)) and len(earlier.users) == 1:
            earlier = earlier.args[0]
        others = steps_of(earlier)
        if others is not None and len(earlier.users) == 1:
            steps, source = [max(pair) for pair in zip(steps, others)], earlier.args[0]
        channels = shape_of(last)[1]
        ones = torch.ones(channels, 1, 1, 1)
        if is_dequantized(source):
            scales, zeros = torch.ones(channels), torch.zeros(channels, dtype=torch.int64)
            stored = [edit.store(last, value) for value in (ones.to(torch.int8), scales, zeros)]
            dequantize = torch.ops.quantized_decomposed.dequantize_per_channel.default
            weight = edit.insert(last, dequantize, *stored, 0, -127, 127, torch.int8)
        else:
            weight = edit.store(last, ones)
        convolve = torch.ops.aten.conv2d.default
        edit.replace(last, edit.insert(last, convolve, source, weight, None, steps, [0, 0], [1, 1], channels))
    return edit.done()


REWRITES: tuple[Callable[[GraphModule], GraphModule], ...] = (
    store_constants,
    remove_no_ops,
    scale_biases,
    spell_out_shapes,
    spell_out_attentions,
    round_by_adding,
    subsample_by_convolution,
)
"""All rewrites, in the order in which they are applied."""
