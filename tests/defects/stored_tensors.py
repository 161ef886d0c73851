"""Defects of the tensors that artifacts store, put into files of any format: their bytes are found and replaced.

A format may store a tensor in another order of its axes, and in float16. It does not matter here which one does what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule, Node

from export.explanation import module_of
from quantize.operators import ATTENTION, CONVOLUTION, HEAD, LINEAR
from tests.defects.registry import Registry

SHORTEST = 6
"""Fewest bytes that are taken for a tensor: those of three numbers in float16."""

DEQUANTIZE_CHANNELS = "quantized_decomposed.dequantize_per_channel.default"

Array: TypeAlias = NDArray[np.generic]


@dataclass(frozen=True)
class Change:
    """A tensor as it should be, and as the defect makes it.

    Attributes:
        before: As it should be.
        after: With the defect.
        module: Path of the module that computes with it.
        unit: What one step is worth where the tensor is stored as int32, by channel; None if it never is.
    """

    before: Array
    after: Array
    module: str
    unit: Array | None = None


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a program.

    Attributes:
        kind: Its operator.
        weight: Its weight, int8 or float32.
        scales: Scales of the weight by channel; None if it is float32.
        bias: Its bias; None if it has none.
        unit: What one step of a bias in int32 is worth, by channel; None if the layer is not quantized.
        module: Path of its module.
    """

    kind: str
    weight: Array
    scales: Array | None
    bias: Array | None
    unit: Array | None
    module: str


Defect: TypeAlias = Callable[["Stored"], list[Change]]
"""Returns what a defect changes; nothing if the program has no place for it."""

DEFECTS: Registry[Defect] = Registry()
"""Defects by name."""


def value_of(program: nn.Module, name: str) -> Array:
    """Returns a parameter or buffer by its name."""
    found: Any = program
    for part in name.split("."):
        found = getattr(found, part)
    value: Array = found.detach().numpy()
    return value


@dataclass(frozen=True)
class Stored:
    """The tensors of a variant.

    Attributes:
        program: Its program.
        stage: The same with the normalization of pixels.
    """

    program: GraphModule
    stage: nn.Module

    def layers(self, kind: str) -> list[Layer]:
        """Returns the layers with that operator, in order."""
        return [self.layer(node) for node in self.program.graph.nodes if str(node.target) == kind]

    def middle(self, kind: str, where: Callable[[Layer], bool] = lambda layer: True) -> Layer | None:
        """Returns the layer in the middle of those that fulfil a condition, quantized ones if there are any."""
        found = [layer for layer in self.layers(kind) if where(layer)]
        found = [layer for layer in found if layer.scales is not None] or found
        return found[len(found) // 2] if found else None

    def layer(self, node: Node) -> Layer:
        """Returns the layer of a node."""
        source, weight, *rest = node.args
        assert isinstance(source, Node)
        assert isinstance(weight, Node)
        bias = value_of(self.program, str(rest[0].target)) if rest and isinstance(rest[0], Node) else None
        if str(weight.target) != DEQUANTIZE_CHANNELS:
            return Layer(
                str(node.target), value_of(self.program, str(weight.target)), None, bias, None, module_of(node)
            )
        stored, scales = weight.args[:2]
        assert isinstance(stored, Node)
        assert isinstance(scales, Node)
        by_channel = value_of(self.program, str(scales.target))
        step = source.args[1]
        assert isinstance(step, float)
        unit = by_channel.astype(np.float64) * np.float64(np.float32(step))
        return Layer(
            str(node.target), value_of(self.program, str(stored.target)), by_channel, bias, unit, module_of(node)
        )

    def parameter(self, word: str) -> str | None:
        """Returns the name of the first parameter or buffer that holds a word."""
        return next((name for name in self.program.state_dict() if word in name), None)


def edited(before: Array, edit: Callable[[NDArray[np.float64]], object], module: str) -> Change:
    """Returns the change that a function makes to a copy of a tensor, in place."""
    after = before.astype(np.float64)
    edit(after)
    return Change(before, after.astype(before.dtype), module)


def zero_first(values: NDArray[np.float64]) -> None:
    values[0] = 0


@DEFECTS.register
def a_zeroed_filter(stored: Stored) -> list[Change]:
    layer = stored.middle(CONVOLUTION)
    return [edited(layer.weight, zero_first, layer.module)] if layer else []


@DEFECTS.register
def channels_swapped(stored: Stored) -> list[Change]:
    """Swaps red and blue where the first convolution of each branch reads them."""
    first = [layer for layer in stored.layers(CONVOLUTION) if layer.weight.shape[1] == 3]
    return [Change(layer.weight, layer.weight[:, ::-1], layer.module) for layer in first]


@DEFECTS.register
def mean_shifted_by_5_percent(stored: Stored) -> list[Change]:
    return [edited(value_of(stored.stage, "offset"), lambda values: np.multiply(values, 1.05, out=values), "")]


@DEFECTS.register
def deviation_off_by_2_percent(stored: Stored) -> list[Change]:
    tensors = [value_of(stored.stage, name) for name in ("offset", "scale")]
    return [edited(tensor, lambda values: np.divide(values, 1.02, out=values), "") for tensor in tensors]


@DEFECTS.register
def a_weight_transposed(stored: Stored) -> list[Change]:
    layer = stored.middle(LINEAR, lambda layer: layer.weight.shape[0] == layer.weight.shape[1])
    return [Change(layer.weight, layer.weight.T, layer.module)] if layer else []


def scales_off(stored: Stored, factor: float, channels: int | None) -> list[Change]:
    """Multiplies the scales of a convolution's weight, or, without scales, the weight itself."""
    layer = stored.middle(CONVOLUTION)
    if layer is None:
        return []

    def multiply(values: NDArray[np.float64]) -> None:
        values[:channels] *= factor

    return [edited(layer.weight if layer.scales is None else layer.scales, multiply, layer.module)]


@DEFECTS.register
def a_channels_scale_off_by_2_percent(stored: Stored) -> list[Change]:
    return scales_off(stored, 1.02, 1)


@DEFECTS.register
def a_channels_scale_off_by_10_percent(stored: Stored) -> list[Change]:
    return scales_off(stored, 1.1, 1)


@DEFECTS.register
def a_weights_scales_off_by_10_percent(stored: Stored) -> list[Change]:
    return scales_off(stored, 1.1, None)


@DEFECTS.register
def a_bias_dropped(stored: Stored) -> list[Change]:
    layer = stored.middle(CONVOLUTION, lambda layer: layer.bias is not None)
    if layer is None or layer.bias is None:
        return []
    return [Change(layer.bias, np.zeros_like(layer.bias), layer.module, unit=layer.unit)]


@DEFECTS.register
def an_anchor_lost(stored: Stored) -> list[Change]:
    name = stored.parameter("anchors")
    if name is None:
        return []

    def lose(values: NDArray[np.float64]) -> None:
        flat = values.reshape(-1, values.shape[-1])
        flat[1] = flat[0]

    return [edited(value_of(stored.program, name), lose, HEAD)]


@DEFECTS.register
def the_last_layer_rotated(stored: Stored) -> list[Change]:
    layer = stored.layers(LINEAR)[-1]
    tensors = [tensor for tensor in (layer.weight, layer.bias) if tensor is not None]
    return [Change(tensor, np.roll(tensor, 1, axis=0), HEAD) for tensor in tensors]


@DEFECTS.register
def a_position_bias_shifted(stored: Stored) -> list[Change]:
    attention = next((node for node in stored.program.graph.nodes if str(node.target) == ATTENTION), None)
    if attention is None or len(attention.all_input_nodes) < 4:
        return []
    mask = attention.all_input_nodes[3]
    source = mask.all_input_nodes[0] if str(mask.target) == DEQUANTIZE_CHANNELS else mask
    bias = value_of(stored.program, str(source.target))
    return [Change(bias, np.roll(bias, 1, axis=-1), module_of(attention))]


@DEFECTS.register
def a_norm_s_weight_halved(stored: Stored) -> list[Change]:
    name = stored.parameter("norm_mlp.weight")
    if name is None:
        return []
    weight, module = value_of(stored.program, name), name.removesuffix(".weight")
    return [edited(weight, lambda values: np.divide(values, 2, out=values), module)]


def stored_forms(change: Change) -> Iterator[tuple[bytes, bytes]]:
    """Yields the bytes of a tensor before and after: in all orders of its axes, in float16, and as biases in int32."""
    pairs = [(change.before, change.after)]
    if change.before.dtype == np.float32:
        pairs.append((change.before.astype(np.float16), change.after.astype(np.float16)))
    if change.unit is not None:
        pairs.append((in_steps(change.before, change.unit), in_steps(change.after, change.unit)))
    for before, after in pairs:
        squeezed = before.squeeze(), after.reshape(before.squeeze().shape)
        for order in permutations(range(squeezed[0].ndim)):
            first, second = (tensor.transpose(order).tobytes() for tensor in squeezed)
            yield first, second


def in_steps(values: Array, unit: Array) -> NDArray[np.int32]:
    """Returns values as whole numbers of a unit."""
    return np.rint(values.astype(np.float64) / unit.astype(np.float64)).astype(np.int32)


def inject(artifact: Path, changes: list[Change]) -> int:
    """Replaces tensors in all files of an artifact, in place, and returns how many were found."""
    files = sorted(path for path in artifact.rglob("*") if path.is_file()) if artifact.is_dir() else [artifact]
    changed = 0
    for file in files:
        content = file.read_bytes()
        for change in changes:
            forms = ((before, after) for before, after in stored_forms(change) if len(before) >= SHORTEST)
            found = next(((before, after) for before, after in forms if before in content), None)
            if found:
                changed += 1
                content = content.replace(*found)
        file.write_bytes(content)
    return changed
