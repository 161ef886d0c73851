"""Which multiply-adds an INT8 file really computes in integers, and why the others stay in float.

A file shows what its operators are. How much work each one is, and why it may be in float, follows from the traced
program. The operators of both are matched by the shape of their weights, in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch.fx import GraphModule

from arbex.provenance import Elementwise, Island, Recipe, Work
from export.operators import Operator, Shape, weight_key
from quantize.folding import constant
from quantize.operators import CONVOLUTION, UNROUNDED, WEIGHTED
from quantize.patterns import calls
from quantize.placement import in_head, module_path
from quantize.sensitivity import count_macs

IN_HEAD = "the head computes in float32: 8 bits for its logarithms and distances would cost agreement"
STEM = "a stem: the image has too few channels to gain from an integer kernel"
RESTORED = "restored by the accuracy gate"
PRODUCT = "products of attention: neither factor is a weight, and rounding the scores would cost agreement"
UNUSUAL = "a kind of layer that arbex does not round"
NO_KERNEL = "the runtime has no integer kernel for it"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An operator of the traced program that multiplies.

    Attributes:
        name: Name in the program.
        module: Dotted path of the module it came from.
        weight: Dimensions of its weight, as for ``Operator``; None for a product of two activations.
        macs: Multiply-adds per image.
        channels: Input channels of a convolution; None for others.
        in_head: Whether it belongs to the head.
        unrounded: Whether it is of a kind that no recipe rounds.
    """

    name: str
    module: str
    weight: Shape | None
    macs: int
    channels: int | None
    in_head: bool
    unrounded: bool = False


def list_layers(folded: GraphModule) -> tuple[Layer, ...]:
    """Returns the operators that multiply in a traced program without observers, in order."""
    macs = count_macs(folded)
    layers = []
    for node in (n for n in folded.graph.nodes if n.name in macs):
        layer = calls(node, (*WEIGHTED, *UNROUNDED))
        weight = constant(folded, node.args[1]).shape if layer else None
        is_convolution = calls(node, (CONVOLUTION,))
        channels = int(node.args[0].meta["val"].shape[1]) if is_convolution else None
        layers.append(
            Layer(
                name=node.name,
                module=module_path(node),
                weight=None if weight is None else weight_key(weight),
                macs=macs[node.name],
                channels=channels,
                in_head=in_head(node),
                unrounded=calls(node, UNROUNDED),
            )
        )
    return tuple(layers)


def reason_for(layer: Layer, recipe: Recipe) -> str | None:
    """Returns why a recipe leaves a layer in float, or None."""
    if layer.weight is None:
        return PRODUCT
    if layer.in_head:
        return IN_HEAD
    if layer.unrounded:
        return UNUSUAL
    if layer.name in recipe.float_operators:
        return RESTORED
    return STEM if layer.channels is not None and layer.channels < recipe.min_channels else None


def take_census(
    layers: Sequence[Layer],
    recipe: Recipe,
    operators: Sequence[Operator],
    elementwise: tuple[Elementwise, ...] = (),
) -> Work:
    """Returns what a file computes in integers.

    Args:
        layers: Layers of the program that the file was made from.
        recipe: Recipe with which it was quantized.
        operators: Operators in the file, in order.
        elementwise: Operators between layers that the recipe leaves in float.
    """
    held: dict[Shape, list[bool]] = defaultdict(list)
    for operator in operators:
        held[operator.weight].append(operator.int8)
    floats: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        reason = reason_for(layer, recipe)
        same = held[layer.weight] if layer.weight is not None else []
        # Among layers with weights of equal shape, those that the recipe leaves in float match operators in float.
        if (reason is None) in same:
            same.remove(reason is None)
        elif reason is None:
            reason = NO_KERNEL
        if reason is not None:
            floats[reason].append(layer)
    islands = [
        Island(
            reason=reason,
            operators=len(found),
            macs=sum(x.macs for x in found),
            modules=tuple(x.module for x in found),
        )
        for reason, found in floats.items()
    ]
    total = sum(layer.macs for layer in layers)
    in_float = sum(island.macs for island in islands)
    return Work(
        macs=total,
        int8_macs=total - in_float,
        islands=tuple(sorted(islands, key=lambda island: -island.macs)),
        elementwise=elementwise,
    )
