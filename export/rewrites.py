"""Rewrites of a program into operators that runtimes have fast kernels for; none of them changes a number."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule, Node

from export.layer_forms import pair
from quantize.editing import editable, finished, replace_uses
from quantize.folding import constant
from quantize.operators import DEQUANTIZE, LINEAR, PRELU, QUANTIZE, TRANSPOSED, WEIGHTED
from quantize.patterns import calls, is_dequantized, quantized_output, scale_and_zero_point

AVERAGE, CONCATENATE, EXPAND = "aten.avg_pool2d.default", "aten.cat.default", "aten.expand.default"
MOVEMENTS = tuple(
    f"aten.{name}"
    for name in ("reshape.default", "permute.default", "transpose.int", "view.default", "flatten.using_ints")
)


def flatten_linear_layers(program: GraphModule) -> GraphModule:
    """Returns a program whose linear layers with quantized inputs and outputs see matrices ``[rows, features]``.

    For more dimensions, ONNX has no linear layer, only a product and a sum. ONNX Runtime then multiplies in integers,
    converts the products to floats, adds the bias and quantizes: four steps, where a ``Gemm`` is one kernel.
    """
    flat = editable(program)
    reshape = torch.ops.aten.reshape.default
    for linear in [node for node in flat.graph.nodes if calls(node, (LINEAR,))]:
        values, output, shape = linear.args[0], quantized_output(linear), linear.meta["val"].shape
        free = sum(not isinstance(n, int) for n in shape)  # the batch, wherever it is
        if not calls(values, (DEQUANTIZE,)) or output is None or len(shape) == 2 or free > 1:
            continue
        features = constant(flat, linear.args[1]).shape[1]
        with flat.graph.inserting_before(values):
            rows = flat.graph.call_function(reshape, (values.args[0], [-1, features]))
            matrix = flat.graph.call_function(values.target, (rows, *values.args[1:]), values.kwargs)
        linear.update_arg(0, matrix)
        with flat.graph.inserting_after(output):
            restored = flat.graph.call_function(reshape, (output, [n if isinstance(n, int) else -1 for n in shape]))
        replace_uses(output, restored)
    return finished(flat)


def shape_of(node: Node) -> torch.Size:
    """Returns the shape of a tensor; Q/DQ pairs, which have none stored, have that of their input."""
    while "val" not in node.meta:
        node = node.args[0]  # type: ignore[assignment]
    shape: torch.Size = node.meta["val"].shape
    return shape


def convolve_averages(program: GraphModule) -> GraphModule:
    """Returns a program whose average pools are depth-wise convolutions in float.

    LiteRT's converter averages int8 values directly and rounds the averages to the scale of the input, which the
    program does not do; and XNNPACK has no kernel for that.
    """
    convolved = editable(program)
    for i, pool in enumerate(node for node in convolved.graph.nodes if calls(node, (AVERAGE,))):
        maps, kernel, *more = pool.args
        strides, padding = (*more, *([], [0])[len(more) :])[:2]
        kernel, strides, padding = pair(kernel), pair(strides or kernel), pair(padding)
        channels = pool.meta["val"].shape[1]
        ones = torch.ones(1, 1, *shape_of(maps)[2:])
        weight = torch.full((1, 1, *kernel), 1 / (kernel[0] * kernel[1]))
        # At edges, averages may be over fewer values, or the last window may begin where a convolution's would not fit.
        ends = [
            max(0, (size - 1) * stride + wide - before - length)
            for size, stride, wide, before, length in zip(
                pool.meta["val"].shape[2:], strides, kernel, padding, ones.shape[2:], strict=True
            )
        ]
        around = [padding[1], ends[1], padding[0], ends[0]]
        shares = F.avg_pool2d(ones, *pool.args[1:]) / F.conv2d(F.pad(ones, around), weight, stride=strides)
        convolved.register_buffer(f"average_{i}", weight.repeat(channels, 1, 1, 1))
        convolved.register_buffer(f"share_{i}", shares)
        with convolved.graph.inserting_before(pool):
            call = convolved.graph.call_function
            if any(around):
                maps = call(torch.ops.aten.constant_pad_nd.default, (maps, around))
            stored = convolved.graph.get_attr(f"average_{i}")
            averages = call(torch.ops.aten.conv2d.default, (maps, stored, None, strides, [0, 0], [1, 1], channels))
            if not torch.allclose(shares, torch.ones(())):
                averages = call(torch.ops.aten.mul.Tensor, (averages, convolved.graph.get_attr(f"share_{i}")))
        pool.replace_all_uses_with(averages)
    return finished(convolved)


def rounding_of(values: Node) -> tuple[float, int] | None:
    """Returns scale and zero point of dequantized values, moved or not; None for other values."""
    while calls(values, MOVEMENTS):
        values = values.args[0]  # type: ignore[assignment]
    return scale_and_zero_point(values) if calls(values, (DEQUANTIZE,)) else None


def keep_in_float(program: GraphModule) -> GraphModule:
    """Returns a program whose float layers on dequantized values see the negatives of both values and weights.

    LiteRT's converter gives a layer between two quantized tensors int8 weights of its own accord. It only does so right
    after a dequantized tensor, and a difference is none. Signs change no digit. (The converter would merge a negation,
    or a product with -1, with the weights.)

    Args:
        program: An INT8 program; not changed.
    """
    kept = editable(program)
    for layer in [node for node in kept.graph.nodes if calls(node, (*WEIGHTED, TRANSPOSED))]:
        values, weight = layer.args[:2]
        if is_dequantized(weight) or rounding_of(values) is None:
            continue
        name = f"negative_weight_of_{layer.name}"
        kept.register_buffer(name, -constant(kept, weight).detach())
        moves = []
        while calls(values, MOVEMENTS):
            moves.append(values)
            values = values.args[0]
        with kept.graph.inserting_before(layer):
            # Before the movements: the converter would move the difference before them, and then drop it.
            negative = kept.graph.call_function(torch.ops.aten.rsub.Scalar, (values, 0.0))
            for move in reversed(moves):
                negative = kept.graph.call_function(move.target, (negative, *move.args[1:]), move.kwargs)
            layer.update_arg(0, negative)
            layer.update_arg(1, kept.graph.get_attr(name))
    return finished(kept)


def concatenate_negatives(program: GraphModule) -> GraphModule:
    """Returns a program that negates what it concatenates, and the result, if the parts have different scales.

    LiteRT's converter concatenates dequantized values in int8, with the scale of one of them for all, so that larger
    values are cut. It leaves differences alone; see ``keep_in_float``.

    Args:
        program: An INT8 program; not changed.
    """
    negated = editable(program)
    minus = torch.ops.aten.rsub.Scalar
    for joined in [node for node in negated.graph.nodes if calls(node, (CONCATENATE,))]:
        parts = joined.args[0]
        scales = {rounding_of(part) for part in parts}
        if len(scales) == 1:
            continue
        with negated.graph.inserting_before(joined):
            joined.update_arg(0, [negated.graph.call_function(minus, (part, 0.0)) for part in parts])
        with negated.graph.inserting_after(joined):
            answer = negated.graph.call_function(minus, (joined, 0.0))
        answer.meta.update(joined.meta)
        replace_uses(joined, answer)
    return finished(negated)


def parameter_of(program: GraphModule, node: Node) -> Tensor | None:
    """Returns the parameter that a node reads or repeats along the batch; None for any other node."""
    source = node.args[0] if calls(node, (EXPAND,)) else node
    return constant(program, source).detach() if isinstance(source, Node) and source.op == "get_attr" else None


def add_concatenated_parameters(program: GraphModule) -> GraphModule:
    """Returns a program that adds parameters to padded values in place of concatenating the two.

    LiteRT's converter rounds whatever is concatenated with int8 values to their scale, which the program does not do.
    The class token of a vision transformer, a parameter much smaller than the patches, would become zero.

    Args:
        program: An INT8 program; not changed.
    """
    spelled = editable(program)
    for i, joined in enumerate(node for node in spelled.graph.nodes if calls(node, (CONCATENATE,))):
        parts, shape = list(joined.args[0]), joined.meta["val"].shape
        axis = (joined.args[1] if len(joined.args) > 1 else 0) % len(shape)
        parameters = [parameter_of(spelled, part) for part in parts]
        values = [part for part, parameter in zip(parts, parameters) if parameter is None]
        if axis == 0 or len(values) == len(parts) or all(rounding_of(part) is None for part in values):
            continue
        added, start, sums = torch.zeros(1, *map(int, shape[1:])), 0, []
        for part, parameter in zip(parts, parameters):
            size = int(part.meta["val"].shape[axis])
            if parameter is None:
                around = [0, 0] * (len(shape) - 1 - axis) + [start, int(shape[axis]) - start - size]
                with spelled.graph.inserting_before(joined):
                    sums.append(spelled.graph.call_function(torch.ops.aten.constant_pad_nd.default, (part, around)))
            else:
                added.narrow(axis, start, size).copy_(parameter)
            start += size
        spelled.register_buffer(f"concatenated_{i}", added)
        with spelled.graph.inserting_before(joined):
            for term in (*sums[1:], spelled.graph.get_attr(f"concatenated_{i}")):
                sums[0] = spelled.graph.call_function(torch.ops.aten.add.Tensor, (sums[0], term))
        joined.replace_all_uses_with(sums[0])
    return finished(spelled)


def spell_out_prelus(program: GraphModule) -> GraphModule:
    """Returns a program whose PReLUs with slopes of at most 1 are ``max(x, slope * x)``, which is the same number.

    ONNX Runtime computes a PReLU value by value, which takes half of the time of an int8 ``base``, and LiteRT's
    converter turns it into four operators. Products and maxima are fast everywhere.
    """
    spelled = editable(program)
    for i, prelu in enumerate(node for node in spelled.graph.nodes if calls(node, (PRELU,))):
        values, slopes = prelu.args[0], constant(spelled, prelu.args[1]).detach()
        if float(slopes.max()) > 1:
            continue
        spelled.register_buffer(f"slopes_{i}", slopes.reshape(1, -1, *[1] * (prelu.meta["val"].ndim - 2)))
        with spelled.graph.inserting_before(prelu):
            name = spelled.graph.get_attr(f"slopes_{i}")
            products = spelled.graph.call_function(torch.ops.aten.mul.Tensor, (values, name))
            larger = spelled.graph.call_function(torch.ops.aten.maximum.default, (values, products))
        prelu.replace_all_uses_with(larger)
    return finished(spelled)


def has_other_readers(values: Node) -> bool:
    """Tells whether a tensor, or one that it was moved from, has several readers; guards of inputs do not count."""
    while True:
        if sum(user.op != "call_module" for user in values.users) > 1:
            return True
        if not calls(values, MOVEMENTS):
            return False
        values = values.args[0]  # type: ignore[assignment]


def halve_weight(program: GraphModule, layer: Node) -> None:
    """Halves a layer's weight and the scale by which it is quantized, so that its int8 values stay the same."""
    dequantize: Any = layer.args[1]
    quantize = dequantize.args[0]
    weight, scales = (constant(program, argument).detach() / 2 for argument in quantize.args[:2])
    program.register_buffer(f"half_weight_of_{layer.name}", weight)
    program.register_buffer(f"half_scales_of_{layer.name}", scales)
    graph = program.graph
    with graph.inserting_before(layer):  # a pair of its own: other layers may read the same weight
        half, halves = (graph.get_attr(f"half_{kind}_of_{layer.name}") for kind in ("weight", "scales"))
        values = graph.call_function(quantize.target, (half, halves, *quantize.args[2:]), quantize.kwargs)
        layer.update_arg(
            1, graph.call_function(dequantize.target, (values, halves, *dequantize.args[2:]), dequantize.kwargs)
        )


def separate_rounded_copies(program: GraphModule) -> GraphModule:
    """Returns a program in which no tensor is read both in float and in int8.

    LiteRT's converter quantizes a tensor for all of its readers or for none, so that it also rounds what float readers
    see, such as a shortcut. Here the int8 readers get a copy, which is doubled so that the converter does not merge it
    with the original, and halved weights. Powers of two change no digit.

    Args:
        program: An INT8 program whose weights are not folded; not changed.
    """
    apart = editable(program)
    for quantize in [node for node in apart.graph.nodes if calls(node, (QUANTIZE,))]:
        values, users = quantize.args[0], list(quantize.users)
        layers = [layer for user in users for layer in user.users]
        if not (has_other_readers(values) and all(calls(n, WEIGHTED) for n in layers)):
            continue
        with apart.graph.inserting_before(quantize):
            doubled = apart.graph.call_function(torch.ops.aten.mul.Tensor, (values, 2.0))
        quantize.update_arg(0, doubled)
        for node in (quantize, *users):
            node.update_arg(1, scale_and_zero_point(node)[0] * 2)
        for layer in layers:
            halve_weight(apart, layer)
    return finished(apart)
