"""Constants: masks that follow from weights alone are computed once, and biases are rounded as in kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.editing import finished
from quantize.operators import ATTENTION
from quantize.patterns import calls, is_dequantized

MASK = 3
"""Position of the mask among the arguments of an attention."""

BIAS = "position_bias_"
"""Prefix of the names of folded masks."""

LARGEST_BIAS = 32.0
"""Largest absolute value of a position bias; a mask with a larger one, such as -100, excludes positions."""


def attribute(program: GraphModule, path: str) -> Any:
    """Returns the attribute of a program at a dotted path."""
    owner, _, leaf = path.rpartition(".")
    return getattr(program.get_submodule(owner), leaf)


def constant(program: GraphModule, node: Any) -> Any:
    """Returns the value of an argument that follows from weights alone.

    Raises:
        LookupError: If it depends on the input.
    """
    if isinstance(node, list | tuple):
        return type(node)(constant(program, item) for item in node)
    if not isinstance(node, Node):
        return node
    if node.op == "get_attr":
        return attribute(program, str(node.target))
    if node.op != "call_function" or node.kwargs:
        raise LookupError(node.name)
    return node.target(*constant(program, node.args))  # type: ignore[operator]


def attentions(program: GraphModule) -> list[Node]:
    """Returns the attention operators that take a mask."""
    return [n for n in program.graph.nodes if calls(n, (ATTENTION,)) and len(n.args) > MASK]


def is_bias(value: Tensor) -> bool:
    """Tells whether a mask is a float bias ``[1, heads, queries, keys]`` of a size that 8 bits can hold."""
    return value.ndim == 4 and value.is_floating_point() and bool((value.abs() <= LARGEST_BIAS).all())


def fold_attention_masks(program: GraphModule) -> None:
    """Replaces the computation of position biases, the masks of attentions, with their values, in place.

    A window of 28 x 28 cells has 55 x 55 different biases per head, but a mask of 784 x 784. As float32, these masks
    would be a tenth of an int8 file, so that recipes store them in 8 bits. Masks that exclude positions are left alone.
    """
    for i, node in enumerate(n for n in attentions(program) if n.args[MASK]):
        try:
            with torch.no_grad():
                value = constant(program, node.args[MASK])
        except LookupError:
            continue
        if not is_bias(value):
            continue
        name = f"{BIAS}{i}"
        program.register_buffer(name, value.detach().contiguous())
        with program.graph.inserting_before(node):
            folded = program.graph.get_attr(name)
        folded.meta["val"] = value
        node.update_arg(MASK, folded)
    finished(program)


def spell_out_attention_masks(program: GraphModule) -> None:
    """Turns masks that are quantized in the graph into int8 constants that are cast and scaled, in place.

    The numbers are those of the Q/DQ pair. LiteRT's converter evaluates a pair on a constant and stores the float
    result, unless a kernel reads int8 there, which the addition to float scores does not. It leaves a cast alone.
    """
    for i, node in enumerate(attentions(program)):
        dequantize = node.args[MASK]
        if not (isinstance(dequantize, Node) and "dequantize_per_channel" in str(dequantize.target)):
            continue
        value, scales = (constant(program, argument) for argument in dequantize.args[:2])
        shape = [1, -1, 1, 1]  # one scale per head
        name = f"{BIAS}{i}_int8"
        program.register_buffer(name, value)
        program.register_buffer(f"{name}_scales", scales.float().reshape(shape))
        with program.graph.inserting_before(node):
            cast = program.graph.call_function(torch.ops.aten.to.dtype, (program.graph.get_attr(name), torch.float32))
            scaled = program.graph.call_function(
                torch.ops.aten.mul.Tensor, (cast, program.graph.get_attr(f"{name}_scales"))
            )
        node.update_arg(MASK, scaled)
    program.graph.eliminate_dead_code()
    used = {node.target for node in program.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in program.named_buffers(recurse=False) if name.startswith(BIAS)]:
        if name not in used:
            delattr(program, name)
    program.recompile()


def round_biases(program: GraphModule, operators: tuple[str, ...]) -> None:
    """Rounds biases of operators on quantized inputs and weights to what integer kernels add, in place.

    These kernels add biases as int32 in units of the scale of the input times that of the weight. If the program added
    them exactly, every sum would differ by a fraction of a unit and one value in a thousand would be rounded the other
    way; in a deep network, that grows to an error as large as that of quantization itself.
    """
    for i, node in enumerate(n for n in program.graph.nodes if calls(n, operators)):
        values, weight, bias = (*node.args, None)[:3]
        if not (is_dequantized(values) and is_dequantized(weight) and isinstance(bias, Node)):
            continue
        unit = constant(program, values.args[1]) * constant(program, weight.args[1]).double()  # [channels]
        value = constant(program, bias)
        name = f"rounded_bias_{i}"
        program.register_buffer(name, ((value.double() / unit).round() * unit).to(value.dtype).detach())
        with program.graph.inserting_before(node):
            rounded = program.graph.get_attr(name)
        rounded.meta.update(bias.meta)
        node.update_arg(2, rounded)
    finished(program)
