"""Cross-layer equalization: channels of one tensor brought to one size, so that one scale serves them all.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (2019), section 4.1, with the sizes
of activations in place of those of weights, which have a scale for each channel anyway. All factors are powers of two:
the float program computes the same numbers as before, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from quantize.editing import editable, finished
from quantize.folding import attribute
from quantize.operators import BATCH_NORM, CONVOLUTION, PRELU, RELU
from quantize.patterns import calls, only_user

HOMOGENEOUS = (*RELU, PRELU)
"""Activations with f(s x) = s f(x) for every s > 0."""

LARGEST_EXPONENT = 10
"""A channel is enlarged by at most 2 to this; one that hardly ever speaks would be enlarged without end."""

WEIGHT, BIAS = 1, 2
"""Positions among the arguments of convolutions and batch norms."""


@dataclass(frozen=True)
class Pair:
    """Two layers between which channels may be scaled.

    Attributes:
        first: Convolution or batch norm that makes the channels.
        activation: What follows it.
        second: The convolution that reads them.
    """

    first: Node
    activation: Node
    second: Node

    def weight(self, program: GraphModule) -> Tensor:
        """Returns the weight of the second layer, ``[out, in / groups, h, w]``."""
        value: Tensor = attribute(program, str(self.second.args[WEIGHT].target))  # type: ignore[union-attr]
        return value

    def is_depthwise(self, program: GraphModule) -> bool:
        """Tells whether each channel has a kernel of its own, and so a scale of its own."""
        return self.weight(program).shape[1] == 1


def groups(convolution: Node) -> Any:
    """Returns the groups of a convolution."""
    return convolution.args[6] if len(convolution.args) > 6 else 1


def find_pairs(program: GraphModule) -> Iterator[Pair]:
    """Yields convolutions or batch norms whose output only one convolution reads, behind an activation."""
    readers: dict[Any, int] = {}
    for node in program.graph.nodes:
        if node.op == "get_attr":
            readers[node.target] = readers.get(node.target, 0) + len(node.users)
    for activation in [node for node in program.graph.nodes if calls(node, HOMOGENEOUS)]:
        first, second = activation.args[0], only_user(activation, (CONVOLUTION,))
        if second is None or not calls(first, (CONVOLUTION, BATCH_NORM)) or len(first.users) > 1:
            continue
        stored = [*first.args[WEIGHT : BIAS + 1], second.args[WEIGHT]]
        own = all(node is None or (node.op == "get_attr" and readers[node.target] == 1) for node in stored)
        pair = Pair(first, activation, second)
        if own and second.args[0] is activation and (pair.is_depthwise(program) or groups(second) == 1):
            yield pair


class Sizes(Interpreter):
    """Finds the largest absolute value of each channel behind activations."""

    def __init__(self, program: GraphModule, activations: set[Node]) -> None:
        """Watches some nodes of a program."""
        super().__init__(program)
        self.activations = activations
        self.found: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        """Computes an operator and measures what it puts out ``[B, C, H, W]``."""
        value = super().run_node(n)
        if n in self.activations:
            self.found[n] = value.abs().amax((0, 2, 3))
        return value


def exponents(sizes: Tensor, *, depthwise: bool) -> Tensor:
    """Returns powers of two by which channels are divided, at most 0.

    Args:
        sizes: Largest absolute values by channel ``[C]``.
        depthwise: The kernels that read the channels have scales of their own: channels are brought to the same size.
            Otherwise half-way, since what a channel gains, its weights lose.
    """
    share = sizes / sizes.max().clamp_min(torch.finfo(sizes.dtype).tiny)
    wanted = share.clamp_min(2.0**-LARGEST_EXPONENT).log2()
    return (wanted if depthwise else wanted / 2).round()


def scale_stored(program: GraphModule, node: Node | None, factors: Tensor) -> None:
    """Multiplies a stored tensor, in place of which the program gets a new one."""
    if node is None:
        return
    path = str(node.target)
    owner, _, leaf = path.rpartition(".")
    value = attribute(program, path)
    scaled = nn.Parameter((value * factors.to(value.dtype)).detach(), requires_grad=False)
    setattr(program.get_submodule(owner), leaf, scaled)


@torch.no_grad()
def equalize(program: GraphModule, images: Tensor) -> tuple[GraphModule, dict[str, list[int]]]:
    """Returns a program that answers the same, with channels of similar sizes where layers allow it.

    Args:
        program: From normalized float32 images ``[B, 3, S, S]`` to the outputs; not changed.
        images: Such images, which show how large channels become.

    Returns:
        The program, and the exponents of 2 by which the channels behind each activation were divided.
    """
    equal = editable(program)
    pairs = list(find_pairs(equal))
    sizes = Sizes(equal, {pair.activation for pair in pairs})
    sizes.run(images)
    found = {}
    for pair in pairs:
        depthwise = pair.is_depthwise(equal)
        powers = exponents(sizes.found[pair.activation], depthwise=depthwise)
        factors = torch.exp2(powers)
        for place in (WEIGHT, BIAS):
            stored = pair.first.args[place] if len(pair.first.args) > place else None
            shape = [-1, 1, 1, 1] if place == WEIGHT and calls(pair.first, (CONVOLUTION,)) else [-1]
            scale_stored(equal, stored, (1 / factors).reshape(shape))  # type: ignore[arg-type]
        scale_stored(equal, pair.second.args[WEIGHT], factors.reshape([-1, 1, 1, 1] if depthwise else [1, -1, 1, 1]))  # type: ignore[arg-type]
        found[pair.activation.name] = [int(power) for power in powers]
    return finished(equal), found
