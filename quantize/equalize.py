"""Cross-layer equalization: the channels of a tensor are brought to similar sizes, so that one scale serves them all.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (2019), section 4.1, with the sizes
of activations in place of those of weights, which have one scale per channel anyway. All factors are powers of two, so
that the float program computes the same numbers as before, to the last bit.
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
"""Exponent of 2 of the largest enlargement; without it, a channel that is almost always zero would have no limit."""

WEIGHT, BIAS = 1, 2
"""Positions among the arguments of convolutions and batch norms."""


@dataclass(frozen=True)
class Pair:
    """Two layers between which channels may be scaled.

    Attributes:
        first: Convolution or batch norm that makes the channels.
        activation: Activation function between the two.
        second: Convolution that reads the channels.
    """

    first: Node
    activation: Node
    second: Node

    def weight(self, program: GraphModule) -> Tensor:
        """Returns the weight of the second layer, ``[out, in / groups, h, w]``."""
        value: Tensor = attribute(program, str(self.second.args[WEIGHT].target))  # type: ignore[union-attr]
        return value

    def is_depthwise(self, program: GraphModule) -> bool:
        """Tells whether each channel has a kernel, and therefore a scale, of its own."""
        return self.weight(program).shape[1] == 1

    def spread(self, program: GraphModule, factors: Tensor) -> Tensor:
        """Returns factors of channels ``[C]`` in a shape that the weight of the second layer is multiplied by."""
        if not self.is_depthwise(program):
            return factors.reshape(1, -1, 1, 1)
        kernels = self.weight(program).shape[0] // len(factors)  # per channel
        return factors.repeat_interleave(kernels).reshape(-1, 1, 1, 1)


def groups(convolution: Node) -> Any:
    """Returns the groups of a convolution."""
    return convolution.args[6] if len(convolution.args) > 6 else 1


def find_pairs(program: GraphModule) -> Iterator[Pair]:
    """Yields convolutions or batch norms whose output is read by one convolution only, after an activation."""
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
        own = own and first.args[WEIGHT] is not None  # a batch norm without weight and bias
        pair = Pair(first, activation, second)
        if own and second.args[0] is activation and (pair.is_depthwise(program) or groups(second) == 1):
            yield pair


class Sizes(Interpreter):
    """Finds the largest absolute value of each channel after activations."""

    def __init__(self, program: GraphModule, activations: set[Node]) -> None:
        """Takes a program, and the nodes to measure."""
        super().__init__(program)
        self.activations = activations
        self.found: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        """Computes an operator and measures its output ``[B, C, H, W]``."""
        value = super().run_node(n)
        if n in self.activations:
            self.found[n] = value.abs().amax((0, 2, 3))
        return value


def exponents(sizes: Tensor, *, depthwise: bool) -> Tensor:
    """Returns the exponents of 2 by which channels are divided, at most 0.

    Args:
        sizes: Largest absolute values by channel ``[C]``.
        depthwise: Whether each channel is read by a kernel with a scale of its own. If so, channels are brought to the
            same size; otherwise only half of the way, since the weights lose what a channel gains.
    """
    share = sizes / sizes.max().clamp_min(torch.finfo(sizes.dtype).tiny)
    wanted = share.clamp_min(2.0**-LARGEST_EXPONENT).log2()
    return (wanted if depthwise else wanted / 2).round()


def scale_stored(program: GraphModule, node: Node | None, factors: Tensor) -> None:
    """Replaces a stored tensor with its product with factors."""
    if node is None:
        return
    path = str(node.target)
    owner, _, leaf = path.rpartition(".")
    value = attribute(program, path)
    scaled = nn.Parameter((value * factors.to(value.dtype)).detach(), requires_grad=False)
    setattr(program.get_submodule(owner), leaf, scaled)


@torch.no_grad()
def equalize(program: GraphModule, images: Tensor) -> tuple[GraphModule, dict[str, list[int]]]:
    """Returns a program with the same outputs, and with channels of similar sizes where layers allow it.

    Args:
        program: Program from normalized float32 images ``[B, 3, S, S]`` to the outputs; not changed.
        images: Images of that form, on which the sizes of channels are measured.

    Returns:
        The program, and the exponents of 2 by which the channels after each activation were divided.
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
        scale_stored(equal, pair.second.args[WEIGHT], pair.spread(equal, factors))  # type: ignore[arg-type]
        found[pair.activation.name] = [int(power) for power in powers]
    return finished(equal), found
