"""Where Q/DQ pairs go: a torchao quantizer that follows a recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from arbex.provenance import Recipe
from quantize.clamps import bounds
from quantize.folding import BIAS, MASK
from quantize.operators import HEAD, RELU6
from quantize.patterns import calls, only_user

SMALLEST_SCALE = 2**-12
"""Smallest scale of an activation; even one that is always zero needs a scale above zero."""

SMALLEST_WEIGHT_SCALE = 2**-14
"""Smallest scale of a weight's channel: the smallest normal number of float16. A layer that learns from zero, such as
the projection after the attention of the small presets, has weights far below one hundredth."""

ANNOTATION = "quantization_annotation"


def module_path(node: Node) -> str:
    """Returns the dotted path of the module that a node of a traced program came from, or an empty string."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def in_head(node: Node) -> bool:
    """Tells whether a node of a traced program came from the head, which stays in float32."""
    return module_path(node).split(".")[0] == HEAD


class HalfScaleObserver(MinMaxObserver):  # type: ignore[misc]
    """Observes a tensor and rounds its scale to float16.

    Integers reach from -128 to 127, as accelerators limit them, and the largest absolute value is 127.
    """

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Returns scale and zero point, float32 and int."""
        scale, zero_point = super().calculate_qparams()
        return (scale * (127.5 / 127)).half().float(), zero_point


class PerChannelHalfScaleObserver(PerChannelMinMaxObserver):  # type: ignore[misc]
    """Observes the channels of a tensor and rounds their scales to float16."""

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Returns scales and zero points per channel, float32 and int."""
        scale, zero_point = super().calculate_qparams()
        return scale.half().float(), zero_point


OBSERVERS = {
    (False, False): MinMaxObserver,
    (True, False): PerChannelMinMaxObserver,
    (False, True): HalfScaleObserver,
    (True, True): PerChannelHalfScaleObserver,
}
"""Observers by whether there is a scale per channel, and whether scales are numbers of float16."""


def int8_spec(scheme: str, axis: int = 0, *, half: bool = False) -> QuantizationSpec:
    """Returns the specification of int8 for a scheme of torch, such as ``per_tensor_symmetric``.

    Args:
        scheme: The scheme.
        axis: Axis of the channels in a per-channel scheme.
        half: Whether scales are numbers of float16.
    """
    channels = scheme.startswith("per_channel")
    observer = OBSERVERS[channels, half]
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-127 if channels else -128,
        quant_max=127,
        qscheme=getattr(torch, scheme),
        ch_axis=axis if channels else None,
        is_dynamic=False,
        observer_or_fake_quant_ctr=observer.with_args(eps=SMALLEST_WEIGHT_SCALE if channels else SMALLEST_SCALE),
    )


def is_narrow(node: Node, channels: int) -> bool:
    """Tells whether a node is a convolution of maps with fewer than ``channels`` channels."""
    maps = node.args[0]
    return isinstance(maps, Node) and "conv" in str(node.target) and bool(maps.meta["val"].shape[1] < channels)


class Placement(Quantizer):  # type: ignore[misc]
    """Quantizes what the recipe names; everything else stays in float."""

    def __init__(self, recipe: Recipe) -> None:
        """Follows ``recipe``."""
        super().__init__()
        self.recipe = recipe
        # One object for all: a tensor is observed once if its producer and consumer have the same specification.
        half = recipe.half
        self.activation = int8_spec(recipe.activation, half=half)
        self.weight = int8_spec(recipe.weight, half=half)
        self.bias = int8_spec(recipe.weight, axis=1, half=half)  # position biases [1, heads, queries, keys]

    def annotate(self, model: GraphModule) -> GraphModule:
        """Marks the operators in the order of the graph, since rules depend on which inputs are quantized."""
        for node in model.graph.nodes:
            if in_head(node) or node.name in self.recipe.float_operators:
                continue
            if calls(node, self.recipe.operators):
                self.annotate_weighted(node)
            elif calls(node, self.recipe.biases) and self.has_position_bias(node):
                self.mark(node, {node.args[MASK]: self.bias}, None)
            elif calls(node, self.recipe.additions) and self.adds_int8(node):
                self.mark_with_output(node, dict.fromkeys(node.all_input_nodes, self.activation))
            elif calls(node, self.recipe.movements) and self.is_int8(node.args[0]):
                shared = SharedQuantizationSpec(node.args[0])
                self.mark(node, {node.args[0]: shared}, shared)
        return model

    def annotate_weighted(self, node: Node) -> None:
        """Marks a convolution or linear layer, and its output where the recipe says so."""
        narrow = is_narrow(node, self.recipe.min_channels)
        inputs = {} if narrow else {node.args[0]: self.activation, node.args[1]: self.weight}
        if calls(node, self.recipe.outputs):
            self.mark_with_output(node, inputs)
        else:
            self.mark(node, inputs, None)

    def mark_with_output(self, node: Node, inputs: dict[Any, Any]) -> None:
        """Marks an operator whose output is quantized, after the activation that is fused with it."""
        last = self.with_activation(node)
        self.mark(node, inputs, self.activation if last is node else None)
        if last is not node:
            self.mark(last, {}, self.activation)

    def with_activation(self, node: Node) -> Node:
        """Returns the activation that is fused with ``node``, or the node itself.

        Clamps that do not let 0 through stay on their own: the range of a rounded tensor always holds 0.
        """
        user = only_user(node, self.recipe.fused)
        if user is None or (calls(user, RELU6) and not bounds(user)[0] <= 0 <= bounds(user)[1]):
            return node
        return user

    def has_position_bias(self, node: Node) -> bool:
        """Tells whether an attention adds a folded position bias to its scores."""
        mask = node.args[MASK] if len(node.args) > MASK else None
        return isinstance(mask, Node) and mask.op == "get_attr" and str(mask.target).startswith(BIAS)

    def adds_int8(self, node: Node) -> bool:
        """Tells whether a node adds two quantized tensors, rather than a tensor and a number."""
        return len(node.all_input_nodes) == 2 and all(self.is_int8(n) for n in node.all_input_nodes)

    def is_int8(self, node: Any) -> bool:
        """Tells whether a node's output is quantized."""
        annotation = node.meta.get(ANNOTATION) if isinstance(node, Node) else None
        return annotation is not None and annotation.output_qspec is not None

    def mark(self, node: Node, inputs: dict[Any, Any], output: Any) -> None:
        """Writes the annotation that torchao reads."""
        node.meta[ANNOTATION] = QuantizationAnnotation(input_qspec_map=inputs, output_qspec=output, _annotated=True)

    def validate(self, model: GraphModule) -> None:
        """Accepts every model: all backends run what ``annotate`` places."""


def quantized_outputs(program: GraphModule, recipe: Recipe) -> set[Node]:
    """Returns the operators whose outputs a recipe quantizes, in a program without observers."""
    Placement(recipe).annotate(program)
    found = set()
    for node in program.graph.nodes:
        annotation = node.meta.pop(ANNOTATION, None)
        if annotation is not None and annotation.output_qspec is not None:
            found.add(node)
    return found


def rounded_tensors(program: GraphModule, recipe: Recipe) -> set[str]:
    """Returns the names of what a recipe rounds in a program without observers; a weight is ``OPERATOR.weight``."""
    Placement(recipe).annotate(program)
    found = set()
    for node in program.graph.nodes:
        annotation = node.meta.pop(ANNOTATION, None)
        if annotation is None:
            continue
        for source, spec in annotation.input_qspec_map.items():
            if not isinstance(spec, SharedQuantizationSpec):  # a tensor that shares a scale was rounded before
                found.add(f"{node.name}.weight" if source.op == "get_attr" else source.name)
        if annotation.output_qspec is not None and not isinstance(annotation.output_qspec, SharedQuantizationSpec):
            found.add(node.name)
    return found
