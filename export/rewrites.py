"""Rewrites of a program into operators that runtimes have fast kernels for; none of them changes a number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.editing import editable, finished, replace_uses
from quantize.folding import constant
from quantize.operators import DEQUANTIZE, LINEAR, PRELU, QUANTIZE, WEIGHTED
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
        if not calls(values, (DEQUANTIZE,)) or output is None or len(shape) == 2:
            continue
        features = constant(flat, linear.args[1]).shape[1]
        with flat.graph.inserting_before(values):
            rows = flat.graph.call_function(reshape, (values.args[0], [-1, features]))
            matrix = flat.graph.call_function(values.target, (rows, *values.args[1:]), values.kwargs)
        linear.update_arg(0, matrix)
        with flat.graph.inserting_after(output):
            restored = flat.graph.call_function(reshape, (output, [-1, *shape[1:]]))
        replace_uses(output, restored)
    return finished(flat)


def convolve_averages(program: GraphModule) -> GraphModule:
    """Returns a program whose average pools are depth-wise convolutions in float.

    LiteRT's converter averages int8 values directly and rounds the averages to the scale of the input, which the
    program does not do; and XNNPACK has no kernel for that.
    """
    convolved = editable(program)
    for i, pool in enumerate(node for node in convolved.graph.nodes if calls(node, (AVERAGE,))):
        maps, kernel = pool.args[0], pool.args[1]
        channels = pool.meta["val"].shape[1]
        name = f"average_{i}"
        convolved.register_buffer(name, torch.full((channels, 1, *kernel), 1 / (kernel[0] * kernel[1])))
        with convolved.graph.inserting_before(pool):
            weight = convolved.graph.get_attr(name)
            sums = convolved.graph.call_function(
                torch.ops.aten.conv2d.default, (maps, weight, None, kernel, [0, 0], [1, 1], channels)
            )
        pool.replace_all_uses_with(sums)
    return finished(convolved)


def is_rounded(values: Node) -> bool:
    """Tells whether a tensor holds dequantized values, moved or not."""
    while calls(values, MOVEMENTS):
        values = values.args[0]  # type: ignore[assignment]
    return calls(values, (DEQUANTIZE,))


def keep_in_float(program: GraphModule) -> GraphModule:
    """Returns a program whose float layers on dequantized values see the negatives of both values and weights.

    LiteRT's converter gives a layer between two quantized tensors int8 weights of its own accord. It only does so right
    after a dequantized tensor, and a difference is none. Signs change no digit. (The converter would merge a negation,
    or a product with -1, with the weights.)

    Args:
        program: An INT8 program; not changed.
    """
    kept = editable(program)
    for layer in [node for node in kept.graph.nodes if calls(node, WEIGHTED)]:
        values, weight = layer.args[:2]
        if is_dequantized(weight) or not is_rounded(values):
            continue
        name = f"negative_weight_of_{layer.name}"
        kept.register_buffer(name, -constant(kept, weight).detach())
        with kept.graph.inserting_before(layer):
            layer.update_arg(0, kept.graph.call_function(torch.ops.aten.rsub.Scalar, (values, 0.0)))
            layer.update_arg(1, kept.graph.get_attr(name))
    return finished(kept)


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
        if axis == 0 or len(values) == len(parts) or not any(map(is_rounded, values)):
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
    dequantize = layer.args[1]
    quantize = dequantize.args[0]  # type: ignore[union-attr]
    halves = []
    for kind, argument in (("weight", quantize.args[0]), ("scales", quantize.args[1])):  # type: ignore[union-attr]
        program.register_buffer(f"half_{kind}_of_{layer.name}", constant(program, argument).detach() / 2)
        with program.graph.inserting_before(quantize):  # type: ignore[arg-type]
            halves.append(program.graph.get_attr(f"half_{kind}_of_{layer.name}"))
    quantize.args = (*halves, *quantize.args[2:])  # type: ignore[union-attr]
    dequantize.update_arg(1, halves[1])  # type: ignore[union-attr]


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
