"""Defects of ONNX files, each as a mistake that people and tools make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.defects.registry import Registry

Defect: TypeAlias = Callable[[ModelProto], bool]
"""Puts a defect into a model; returns False if the model has no place for it."""

DEFECTS: Registry[Defect] = Registry()
"""Defects by name."""


def constant(model: ModelProto, name: str) -> TensorProto | None:
    """Returns the initializer of that name."""
    return next((tensor for tensor in model.graph.initializer if tensor.name == name), None)


def change(tensor: TensorProto, edit: Callable[[NDArray[np.generic]], NDArray[np.generic]]) -> None:
    """Replaces the values of an initializer; its type stays."""
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(edit(values.copy()).astype(values.dtype), tensor.name))


def producer(model: ModelProto, name: str) -> NodeProto | None:
    """Returns the node that computes a value."""
    return next((node for node in model.graph.node if name in node.output), None)


def dequantization(model: ModelProto, node: NodeProto) -> NodeProto | None:
    """Returns the node that dequantizes a node's weight, if any; casts and transpositions may follow it."""
    source = producer(model, node.input[1])
    while source is not None and source.op_type in ("Cast", "Transpose"):
        source = producer(model, source.input[0])
    return source if source is not None and source.op_type == "DequantizeLinear" else None


def weight_of(model: ModelProto, node: NodeProto) -> TensorProto | None:
    """Returns the weight of a node, dequantized or not."""
    source = dequantization(model, node)
    return constant(model, source.input[0] if source is not None else node.input[1])


def scale_of(model: ModelProto, node: NodeProto) -> TensorProto | None:
    """Returns the scales of a node's weight; None if the weight is not quantized."""
    source = dequantization(model, node)
    return None if source is None else constant(model, source.input[1])


def nodes(model: ModelProto, *kinds: str) -> Iterator[NodeProto]:
    """Yields the nodes of some kinds."""
    return (node for node in model.graph.node if node.op_type in kinds)


def middle(model: ModelProto, *kinds: str, where: Callable[[NodeProto], bool] = lambda node: True) -> NodeProto | None:
    """Returns the node in the middle of those of some kinds that fulfil a condition."""
    found = [node for node in nodes(model, *kinds) if where(node)]
    return found[len(found) // 2] if found else None


def rename(model: ModelProto, output: str) -> str:
    """Gives an output's value another name, for its producer and readers, and returns that."""
    name = f"{output}_{len(model.graph.node)}"
    for node in model.graph.node:
        for fields in (node.output, node.input):
            for i, known in enumerate(fields):
                if known == output:
                    fields[i] = name
    return name


def swap_outputs(model: ModelProto, one: str, other: str) -> None:
    """Makes output ``one`` a copy of ``other``."""
    rename(model, one)
    model.graph.node.append(helper.make_node("Identity", [other], [one]))


def after(model: ModelProto, output: str, kind: str, *inputs: str, **attributes: object) -> None:
    """Computes an output further with one more node, whose result only the caller of the model sees."""
    before = rename(model, output)
    model.graph.node.append(helper.make_node(kind, [before, *inputs], [output], **attributes))


def add_constant(model: ModelProto, name: str, values: object, dtype: type = np.float32) -> str:
    """Adds an initializer and returns its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
    return name


@DEFECTS.register
def a_zeroed_filter(model: ModelProto) -> bool:
    node = middle(model, "Conv")
    weight = weight_of(model, node) if node else None
    if weight is None:
        return False

    def zero(values: NDArray[np.generic]) -> NDArray[np.generic]:
        values[0] = 0
        return values

    change(weight, zero)
    return True


@DEFECTS.register
def corrected_is_primary(model: ModelProto) -> bool:
    swap_outputs(model, "corrected", "primary")
    return True


@DEFECTS.register
def primary_is_corrected(model: ModelProto) -> bool:
    swap_outputs(model, "primary", "corrected")
    return True


@DEFECTS.register
def primary_rotated(model: ModelProto) -> bool:
    order = add_constant(model, "rotation", [1, 2, 3, 4, 5, 6, 0], np.int64)
    after(model, "primary", "Gather", order, axis=1)
    return True


@DEFECTS.register
def confidence_is_zero(model: ModelProto) -> bool:
    after(model, "confidence", "Mul", add_constant(model, "nothing", 0.0))
    return True


@DEFECTS.register
def confidence_inverted(model: ModelProto) -> bool:
    one = add_constant(model, "one", 1.0)
    after(model, "confidence", "Neg")
    after(model, "confidence", "Add", one)
    return True


@DEFECTS.register
def channels_swapped(model: ModelProto) -> bool:
    order = add_constant(model, "order", [2, 1, 0], np.int64)
    node = next(node for node in model.graph.node if "image" in node.input and node.op_type == "Cast")
    model.graph.node.insert(0, helper.make_node("Gather", ["image", order], ["image_bgr"], axis=3))
    node.input[0] = "image_bgr"
    return True


@DEFECTS.register
def mean_shifted_by_5_percent(model: ModelProto) -> bool:
    offset = constant(model, "offset")
    if offset is None:
        return False
    change(offset, lambda values: values * np.float32(1.05))
    return True


@DEFECTS.register
def deviation_off_by_2_percent(model: ModelProto) -> bool:
    scale, offset = constant(model, "scale"), constant(model, "offset")
    if scale is None or offset is None:
        return False
    for tensor in (scale, offset):
        change(tensor, lambda values: values / np.float32(1.02))
    return True


@DEFECTS.register
def a_weight_transposed(model: ModelProto) -> bool:
    def is_square(node: NodeProto) -> bool:
        weight = weight_of(model, node)
        return weight is not None and len(weight.dims) == 2 and weight.dims[0] == weight.dims[1]

    node = middle(model, "Gemm", "MatMul", where=is_square)
    weight = weight_of(model, node) if node else None
    if weight is None:
        return False
    change(weight, lambda values: values.T)
    return True


def scale_off(model: ModelProto, factor: float, channels: int | None) -> bool:
    """Multiplies the scales of a convolution's weight, or, without scales, the weight itself.

    Args:
        model: The model.
        factor: The factor.
        channels: Number of output channels, those with the largest weights; None for all.
    """
    node = middle(model, "Conv")
    tensor = (scale_of(model, node) or weight_of(model, node)) if node else None
    if tensor is None:
        return False

    def multiply(values: NDArray[np.generic]) -> NDArray[np.generic]:
        sizes = np.abs(values.astype(np.float32)).reshape(len(values), -1).sum(1)
        chosen = np.argsort(sizes)[-(channels or len(sizes)) :]
        values[chosen] = values[chosen] * np.float32(factor)
        return values

    change(tensor, multiply)
    return True


@DEFECTS.register
def a_channels_scale_off_by_2_percent(model: ModelProto) -> bool:
    return scale_off(model, 1.02, 1)


@DEFECTS.register
def a_channels_scale_off_by_10_percent(model: ModelProto) -> bool:
    return scale_off(model, 1.1, 1)


@DEFECTS.register
def a_weights_scales_off_by_10_percent(model: ModelProto) -> bool:
    return scale_off(model, 1.1, None)


def shifted_dequantizations(model: ModelProto) -> list[NodeProto]:
    """Returns the nodes that dequantize values with a zero point."""

    def is_shifted(node: NodeProto) -> bool:
        zero = constant(model, node.input[2]) if len(node.input) > 2 else None
        return zero is not None and not zero.dims

    return [node for node in nodes(model, "DequantizeLinear") if is_shifted(node)]


def shift_zero_point(model: ModelProto, node: NodeProto, steps: int) -> None:
    """Moves the zero point of a dequantization, downward where there is no room above."""
    zero = constant(model, node.input[2])
    assert zero is not None
    value = numpy_helper.to_array(zero)
    moved = int(value) + (steps if int(value) + steps <= np.iinfo(value.dtype).max else -steps)
    node.input[2] = add_constant(model, "shifted", moved, value.dtype.type)


@DEFECTS.register
def a_zero_point_off_by_one(model: ModelProto) -> bool:
    found = shifted_dequantizations(model)
    if not found:
        return False
    shift_zero_point(model, found[len(found) // 2], 1)
    return True


@DEFECTS.register
def head_in_float16(model: ModelProto) -> bool:
    """Rounds what the head's exponentials and logarithms read."""
    for i, node in enumerate(list(nodes(model, "Exp", "Log"))):
        half, single = f"half_{i}", f"single_{i}"
        model.graph.node.append(helper.make_node("Cast", [node.input[0]], [half], to=TensorProto.FLOAT16))
        model.graph.node.append(helper.make_node("Cast", [half], [single], to=TensorProto.FLOAT))
        node.input[0] = single
    return True


@DEFECTS.register
def epsilon_of_a_layer_norm(model: ModelProto) -> bool:
    node = middle(model, "LayerNormalization")
    if node is None:
        return False
    for attribute in node.attribute:
        if attribute.name == "epsilon":
            attribute.f = 0.5
    return True


@DEFECTS.register
def a_bias_dropped(model: ModelProto) -> bool:
    node = middle(model, "Conv", where=lambda node: len(node.input) == 3)
    bias = constant(model, node.input[2]) if node else None
    if bias is None and node is not None:
        source = producer(model, node.input[2])
        bias = constant(model, source.input[0]) if source else None
    if bias is None:
        return False
    change(bias, np.zeros_like)
    return True


@DEFECTS.register
def a_position_bias_shifted(model: ModelProto) -> bool:
    tensors = [t for t in model.graph.initializer if "position_bias" in t.name and len(t.dims) == 4]
    if not tensors:
        tensors = [t for t in model.graph.initializer if len(t.dims) == 4 and t.dims[2] == t.dims[3] > 7]
    if not tensors:
        return False
    change(tensors[len(tensors) // 2], lambda values: np.roll(values, 1, axis=-1))
    return True


@DEFECTS.register
def answers_of_a_batch_permuted(model: ModelProto) -> bool:
    start, end, step = (add_constant(model, name, [v], np.int64) for name, v in (("s", -1), ("e", -(2**31)), ("t", -1)))
    axis = add_constant(model, "a", [0], np.int64)
    after(model, "corrected", "Slice", start, end, axis, step)
    return True


@DEFECTS.register
def an_anchor_lost(model: ModelProto) -> bool:
    tensors = [t for t in model.graph.initializer if "anchors" in t.name]
    if not tensors:
        return False

    def lose(values: NDArray[np.generic]) -> NDArray[np.generic]:
        flat = values.reshape(-1, values.shape[-1])
        flat[1] = flat[0]
        return values

    change(tensors[0], lose)
    return True


@DEFECTS.register
def an_activation_replaced(model: ModelProto) -> bool:
    """Turns a ReLU into a leaky one: as GELU for its approximation, a function that is almost the same."""

    def follows_convolution(node: NodeProto) -> bool:
        source = producer(model, node.input[0])
        return source is not None and source.op_type == "Conv"

    node = middle(model, "Relu", where=follows_convolution)
    if node is None:
        return False
    node.op_type = "LeakyRelu"
    node.attribute.append(helper.make_attribute("alpha", 0.02))
    return True


@DEFECTS.register
def labels_rotated(model: ModelProto) -> bool:
    """Answers in another order of the classes."""
    order = add_constant(model, "labels", [1, 2, 3, 4, 5, 6, 0], np.int64)
    for name in ("corrected", "primary"):
        after(model, name, "Gather", order, axis=1)
    return True


def reorder(model: ModelProto) -> None:
    """Sorts the nodes so that each comes after what it reads."""
    known = {t.name for t in model.graph.initializer} | {i.name for i in model.graph.input} | {""}
    left, done = list(model.graph.node), []
    while left:
        ready = [node for node in left if known.issuperset(node.input)]
        assert ready, "a value is read that nothing computes"
        for node in ready:
            known.update(node.output)
        done += ready
        left = [node for node in left if node not in ready]
    del model.graph.node[:]
    model.graph.node.extend(done)


def inject(path: Path, name: str) -> bool:
    """Puts a defect into a file, in place; returns False if it has no place for it."""
    model = onnx.load(path)
    if not DEFECTS[name](model):
        return False
    reorder(model)
    onnx.save(model, path)
    return True
