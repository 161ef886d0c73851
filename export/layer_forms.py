"""One form of each layer, whatever a backbone wrote: weights that are stored, and padding in numbers."""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch.fx import GraphModule, Node

from quantize.editing import editable, finished
from quantize.folding import constant
from quantize.operators import WEIGHTED
from quantize.patterns import calls

PADDED_BY_WORD: Final = "aten.conv2d.padding"
"""A convolution with ``padding="same"`` or ``"valid"``."""

SAME: Final = "same"


def unify_layers(program: GraphModule) -> GraphModule:
    """Returns a program that computes the same, in which what quantizes and counts layers finds all of them.

    Weights that follow from parameters alone, such as those of ``weight_norm``, are computed once and stored.

    Args:
        program: Traced program; not changed.
    """
    unified = editable(program)
    for node in [node for node in unified.graph.nodes if calls(node, (PADDED_BY_WORD,))]:
        spell_out_padding(unified, node)
    for node in [node for node in unified.graph.nodes if calls(node, WEIGHTED)]:
        store_weight(unified, node)
    return finished(unified)


def spell_out_padding(program: GraphModule, node: Node) -> None:
    """Replaces a convolution with ``padding="same"`` or ``"valid"`` with one whose padding is a number, in place."""
    values: Any
    values, weight, *more = node.args
    defaults: list[Any] = [None, [1, 1], "valid", [1, 1], 1]
    bias, strides, word, dilations, groups = more + defaults[len(more) :]
    kernel = constant(program, weight).shape[2:]
    sums = [d * (k - 1) if word == SAME else 0 for d, k in zip(pair(dilations), kernel, strict=True)]
    before = [total // 2 for total in sums]
    with program.graph.inserting_before(node):
        if any(total % 2 for total in sums):  # an even kernel: one row or column more at the end
            height, width = (total - 2 * half for total, half in zip(sums, before, strict=True))
            around = [0, width, 0, height]
            padded = program.graph.call_function(torch.ops.aten.constant_pad_nd.default, (values, around))
            padded.meta.update(values.meta | {"val": F.pad(values.meta["val"], around)})
            values = padded
        convolution = program.graph.call_function(
            torch.ops.aten.conv2d.default, (values, weight, bias, pair(strides), before, pair(dilations), groups)
        )
    convolution.meta.update(node.meta)
    node.replace_all_uses_with(convolution)


def pair(sizes: Any) -> list[int]:
    """Returns what one or two sizes mean for rows and columns."""
    listed = [sizes] if isinstance(sizes, int) else [*sizes]
    return listed * (2 // len(listed))


def store_weight(program: GraphModule, layer: Node) -> None:
    """Stores the weight of a layer if it is computed from parameters alone, in place."""
    weight = layer.args[1]
    if not isinstance(weight, Node) or weight.op == "get_attr":
        return
    try:
        with torch.no_grad():
            value = constant(program, weight).detach().contiguous()
    except LookupError:  # it depends on the image
        return
    name = f"weight_of_{layer.name}"
    program.register_buffer(name, value)
    with program.graph.inserting_before(layer):
        stored = program.graph.get_attr(name)
    stored.meta.update(weight.meta)
    layer.update_arg(1, stored)
