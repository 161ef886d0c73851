"""Biases that make up for rounded weights: without them, every channel would be off by a constant.

The rounding errors of the weights of a channel do not cancel: activations after a ReLU are positive, so that each error
counts as often as its input is large. Their mean effect on the output follows from the means of the input's channels,
and the bias takes it back (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (2019),
section 4.2, with means that were seen in place of those of a batch norm).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from calibration import TensorRange
from quantize.folding import attribute, constant
from quantize.operators import CONVOLUTION, WEIGHTED
from quantize.patterns import calls
from quantize.rounding import is_observer, round_weight


def channel_axis(node: Node) -> int | None:
    """Returns the dimension of the channels of a tensor, by the layer that reads it; None if none does."""
    readers = [user for user in node.users if calls(user, WEIGHTED) and user.args[0] is node]
    if not readers:
        return None
    return 1 if calls(readers[0], (CONVOLUTION,)) else -1


def observed(prepared: GraphModule, node: object) -> bool:
    """Tells whether an argument is what an observer of a prepared program passes on."""
    return isinstance(node, Node) and node.op == "call_module" and is_observer(attribute(prepared, str(node.target)))


def mean_effect(layer: Node, means: Tensor, error: Tensor) -> Tensor:
    """Returns what an error of a layer's weight adds to each channel of its output, on average, float64 ``[out]``.

    Args:
        layer: Convolution or linear layer.
        means: Means of the channels of its input, float64 ``[in]``.
        error: Error of its weight, float64.
    """
    if not calls(layer, (CONVOLUTION,)):
        return error @ means
    source = layer.all_input_nodes[0].all_input_nodes[0]
    constant_map = means[None, :, None, None].expand(1, -1, *source.meta["val"].shape[2:])
    out: Tensor = layer.target(constant_map, error, None, *layer.args[3:])  # type: ignore[operator]  # with its padding
    return out.mean((0, 2, 3))


@torch.no_grad()
def mean_effects(prepared: GraphModule, ranges: Mapping[str, TensorRange]) -> dict[str, Tensor]:
    """Returns what rounding the weight of each layer adds to its output on average, float32 ``[out]``, by its name.

    Layers without a bias, and those whose input has no known means, are left out.

    Args:
        prepared: Program with observers.
        ranges: Ranges, with means of channels, by the name of the node.
    """
    found = {}
    for layer in [node for node in prepared.graph.nodes if calls(node, WEIGHTED)]:
        values, weight, bias = (*layer.args, None)[:3]
        if bias is None or not (observed(prepared, values) and observed(prepared, weight)):
            continue
        means = ranges[values.args[0].name].means
        exact = constant(prepared, weight.args[0])
        if len(means) != exact.shape[1] * (layer.args[6] if len(layer.args) > 6 else 1):
            continue
        error = round_weight(exact, attribute(prepared, weight.target)).double() - exact.double()
        found[layer.name] = mean_effect(layer, torch.tensor(means, dtype=torch.float64), error).float()
    return found


@torch.no_grad()
def correct_biases(prepared: GraphModule, ranges: Mapping[str, TensorRange]) -> None:
    """Subtracts from each bias what rounding the weight adds to the output on average, in place."""
    layers = {node.name: node for node in prepared.graph.nodes}
    for name, effect in mean_effects(prepared, ranges).items():
        layer = layers[name]
        bias = layer.args[2]
        assert isinstance(bias, Node)
        corrected = f"{name}_bias"
        prepared.register_buffer(corrected, constant(prepared, bias) - effect)
        with prepared.graph.inserting_before(layer):
            replacement = prepared.graph.get_attr(corrected)
        replacement.meta.update(bias.meta)
        layer.update_arg(2, replacement)
    prepared.graph.eliminate_dead_code()
    prepared.recompile()
