"""Where Q/DQ pairs go: a torchao quantiser that follows a recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

from quantize.recipe import Recipe

SMALLEST_SCALE = 2**-12
"""A tensor that is always zero still needs a scale above zero."""


def module_path(node: Node) -> str:
    """Returns the dotted path of the module that a node of a traced program came from, or an empty string."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def belongs_to(node: Node, modules: tuple[str, ...]) -> bool:
    """Tells whether a node came from one of the modules, given by their first path component."""
    return module_path(node).split(".")[0] in modules


def int8_spec(scheme: str) -> QuantizationSpec:
    """Returns the specification of symmetric int8 for a scheme of torch, such as ``per_tensor_symmetric``."""
    channels = scheme.startswith("per_channel")
    observer = PerChannelMinMaxObserver if channels else MinMaxObserver
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-127,
        quant_max=127,
        qscheme=getattr(torch, scheme),
        ch_axis=0 if channels else None,
        is_dynamic=False,
        observer_or_fake_quant_ctr=observer.with_args(eps=SMALLEST_SCALE),
    )


class Placement(Quantizer):  # type: ignore[misc]
    """Quantises input and weight of the recipe's operators; everything else stays in float."""

    def __init__(self, recipe: Recipe) -> None:
        """Follows ``recipe``."""
        super().__init__()
        self.recipe = recipe

    def annotate(self, model: GraphModule) -> GraphModule:
        """Marks the operators."""
        activation, weight = int8_spec(self.recipe.activation), int8_spec(self.recipe.weight)
        for node in model.graph.nodes:
            if node.op != "call_function" or str(node.target) not in self.recipe.operators:
                continue
            if belongs_to(node, self.recipe.float_modules):
                continue
            node.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map={node.args[0]: activation, node.args[1]: weight}, _annotated=True
            )
        return model

    def validate(self, model: GraphModule) -> None:
        """Has nothing to refuse: every backend runs what ``annotate`` places."""
