"""Which multiply-adds an INT8 file really computes in integers, and why the others do not.

The files say what their operators are; how much work each of them is, and why it may be in float, is known from the
traced program. Operators of both are matched by the shape of their weights, in their order.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from export.elementwise import Elementwise
from quantize.folding import attribute
from quantize.operators import WEIGHTED
from quantize.patterns import calls
from quantize.placement import module_path
from quantize.recipe import Recipe
from quantize.sensitivity import count_macs

Shape = tuple[int, ...]

HEAD = "the head computes in float32: its logarithms and distances would cost the agreement"
STEM = "a stem: the picture itself has too few channels for an integer kernel to pay"
RESTORED = "restored by the accuracy gate"
PRODUCT = "products of attention: neither factor is a weight, and rounded scores cost the agreement"
NO_KERNEL = "this runtime has no integer kernel for it here"


@dataclass(frozen=True)
class Operator:
    """A convolution or linear layer as a file holds it.

    Attributes:
        weight: Sorted dimensions of its weight without ones.
        int8: Whether its kernel reads integers.
    """

    weight: Shape
    int8: bool


@dataclass(frozen=True)
class Island:
    """Work that stays in float.

    Attributes:
        reason: Why.
        operators: How many convolutions, linear layers and products.
        macs: Their multiply-adds an image.
        modules: Where they come from.
    """

    reason: str
    operators: int
    macs: int
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Census:
    """What a file computes in integers.

    Attributes:
        macs: Multiply-adds an image.
        int8_macs: Those in integer kernels.
        islands: The others.
        elementwise: What computes in float between the layers, without multiply-adds to speak of.
    """

    macs: int
    int8_macs: int
    islands: tuple[Island, ...]
    elementwise: tuple[Elementwise, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the census for a manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Layer:
    """An operator of the traced program that multiplies.

    Attributes:
        name: In the program.
        module: Dotted path of the module it came from.
        weight: As for ``Operator``; nothing for a product of two activations.
        macs: Multiply-adds an image.
        channels: Input channels of a convolution; nothing for others.
    """

    name: str
    module: str
    weight: Shape | None
    macs: int
    channels: int | None


def key(shape: Iterable[int]) -> Shape:
    """Returns what a weight's shape has in common in all layouts."""
    return tuple(sorted(int(n) for n in shape if n != 1))


def origin(program: dict[Any, Any], name: str, through: Sequence[str]) -> Any:
    """Returns the node that made a tensor, behind operators that only pass it on."""
    node = program.get(name)
    while node is not None and node.op_type in through:
        node = program.get(node.input[0])
    return node


PASSING = ("Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
INTEGER = {"QLinearConv": 3, "ConvInteger": 1, "QGemm": 3, "MatMulInteger": 1, "MatMulIntegerToFloat": 1}
"""ONNX Runtime's integer operators, and which of their inputs is the weight."""

FLOATING = {"Conv": 1, "FusedConv": 1, "Gemm": 1, "FusedGemm": 1, "MatMul": 1, "FusedMatMul": 1}


def onnx_operators(path: Path, *, fused: bool = False) -> list[Operator]:
    """Returns the operators of an ONNX file.

    Args:
        path: The file.
        fused: It is what a runtime made of one: only its integer operators count. Otherwise those behind Q/DQ pairs
            count too, as TensorRT fuses them.
    """
    import onnx

    graph = onnx.load(path).graph
    made = {name: node for node in graph.node for name in node.output}
    shapes = {i.name: tuple(i.dims) for i in graph.initializer}
    shapes |= {n.output[0]: tuple(n.attribute[0].t.dims) for n in graph.node if n.op_type == "Constant"}
    found = []
    for node in graph.node:
        place = INTEGER.get(node.op_type, FLOATING.get(node.op_type))
        if place is None:
            continue
        weight, source = node.input[place], origin(made, node.input[0], PASSING)
        dequantized = source is not None and source.op_type == "DequantizeLinear"
        while weight in made and made[weight].op_type in (*PASSING, "DequantizeLinear"):
            weight = made[weight].input[0]
        if weight in shapes:
            found.append(Operator(key(shapes[weight]), node.op_type in INTEGER or (dequantized and not fused)))
    return found


def onnx_runtime_operators(path: Path) -> list[Operator]:
    """Returns the operators that ONNX Runtime makes of a file: what it did not fuse computes in float."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3
        # The level above rearranges weights for this processor.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx_operators(optimized, fused=True)


def litert_operators(path: Path) -> list[Operator]:
    """Returns the operators of a LiteRT file by the types of their tensors."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
    return [
        Operator(key(tensors[op["inputs"][1]]["shape"]), tensors[op["outputs"][0]]["dtype"] == np.int8)
        for op in interpreter._get_ops_details()  # the only way to see them without the schema
        if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]


def coreml_operators(path: Path) -> list[Operator]:
    """Returns the operators of a Core ML package."""
    import coremltools

    spec = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec()
    block = next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
    made = {output.name: operation for operation in block.operations for output in operation.outputs}

    def argument(operation: Any, name: str) -> Any:
        bound = operation.inputs[name].arguments if name in operation.inputs else ()
        return made.get(bound[0].name) if bound else None

    found = []
    for operation in block.operations:
        names = {"conv": "weight", "linear": "weight", "matmul": "y"}
        if operation.type not in names:
            continue
        weight, source = argument(operation, names[operation.type]), argument(operation, "x")
        while source is not None and source.type in ("cast", "transpose", "reshape"):
            source = argument(source, "x")
        if weight is None or not (weight.type == "const" or weight.type.startswith("constexpr")):
            continue
        shape = [d.constant.size for d in weight.outputs[0].type.tensorType.dimensions]
        found.append(Operator(key(shape), source is not None and source.type == "dequantize"))
    return found


def operators_of(path: Path, format: str, recipe: Recipe) -> list[Operator]:  # noqa: A002 - the field's word
    """Returns the convolutions and linear layers of a file, as what is meant to run it computes them.

    An engine cannot be read back: its ONNX file, beside it, stands for it.
    """
    if format == "tflite":
        return litert_operators(path)
    if format == "mlpackage":
        return coreml_operators(path)
    graph = path.with_name("model.int8.onnx")
    # Zero points are what ONNX Runtime's integer kernels want; other ONNX files are for TensorRT.
    return onnx_runtime_operators(graph) if recipe.has_zero_points else onnx_operators(graph)


def list_layers(folded: GraphModule) -> tuple[Layer, ...]:
    """Returns all that multiplies in a traced program without observers, in its order."""
    macs = count_macs(folded)
    layers = []
    for node in (n for n in folded.graph.nodes if n.name in macs):
        weight = attribute(folded, str(node.args[1].target)).shape if calls(node, WEIGHTED) else None
        is_convolution = weight is not None and len(weight) == 4
        channels = int(node.args[0].meta["val"].shape[1]) if is_convolution else None
        layers.append(
            Layer(node.name, module_path(node), None if weight is None else key(weight), macs[node.name], channels)
        )
    return tuple(layers)


def reason_for(layer: Layer, recipe: Recipe) -> str | None:
    """Returns why a recipe leaves a layer in float, or nothing."""
    if layer.weight is None:
        return PRODUCT
    if layer.module.split(".")[0] in recipe.float_modules:
        return HEAD
    if layer.name in recipe.float_operators:
        return RESTORED
    return STEM if layer.channels is not None and layer.channels < recipe.min_channels else None


def take_census(
    layers: Sequence[Layer],
    recipe: Recipe,
    operators: Sequence[Operator],
    elementwise: tuple[Elementwise, ...] = (),
) -> Census:
    """Returns what a file computes in integers.

    Args:
        layers: Of the program that the file was made of.
        recipe: How it was quantized.
        operators: What the file holds, in its order.
        elementwise: What the recipe leaves in float between layers.
    """
    held: dict[Shape, list[bool]] = defaultdict(list)
    for operator in operators:
        held[operator.weight].append(operator.int8)
    floats: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        reason = reason_for(layer, recipe)
        same = held[layer.weight] if layer.weight is not None else []
        # Of layers with equal weights' shapes, those that the recipe leaves in float are matched to such.
        if (reason is None) in same:
            same.remove(reason is None)
        elif reason is None:
            reason = NO_KERNEL
        if reason is not None:
            floats[reason].append(layer)
    islands = [
        Island(reason, len(found), sum(x.macs for x in found), tuple(x.module for x in found))
        for reason, found in floats.items()
    ]
    total = sum(layer.macs for layer in layers)
    in_float = sum(island.macs for island in islands)
    return Census(total, total - in_float, tuple(sorted(islands, key=lambda island: -island.macs)), elementwise)
