"""Core ML packages, written on any platform: coremltools needs a Mac to predict, but not to convert."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from export.formats.base import Writer, refusals_of
from export.operators import Operator, weight_key
from export.targets import Target
from quantize.operators import HEAD
from quantize.recipe import ACCELERATOR
from runtimes.class_names import KEY, to_text
from runtimes.coreml_evaluator.package_files import read_specification
from runtimes.coreml_runtime import MLPACKAGE
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from export.programs import Variant

IPHONE = Target(
    name="iphone",
    formats=(MLPACKAGE.name,),
    precisions=("fp16", "int8"),
    device="iPhone or iPad with iOS 17 or later",
    recipe=ACCELERATOR,
    half=True,
    usage="""Drag the `.mlpackage` into Xcode. The input `image` is an RGB image of {side} x {side} pixels
(`CVPixelBuffer`, `CGImage` through Vision); normalization is inside:

    let model = try {identifier}(configuration: MLModelConfiguration())
    let answer = try model.prediction(image: pixelBuffer)
    print(answer.corrected)""",
)

NO_OPS = ("aten.alias.default", "aten.lift_fresh_copy.default")
"""Operators that change nothing and that coremltools does not support."""

INEXACT_PASSES = {"common::fuse_elementwise_to_batchnorm"}
"""Passes of coremltools that change results. This one turns x * scale + offset into a batch norm with an epsilon of
1e-5, which is 1 / sqrt(1 + 1e-5) times as large: an error of 5e-6 of every normalized pixel."""

WEIGHT_ARGUMENTS = {"conv": "weight", "linear": "weight", "matmul": "y"}
"""Operations of MIL that multiply by weights, and the argument that holds the weight."""


class CoreMlWriter(Writer):
    """Writes ``.mlpackage`` folders for iOS 17 and later."""

    format = MLPACKAGE
    packages = (
        Package(module="coremltools", distribution="coremltools", purpose="writing Core ML packages", extra="export"),
    )
    targets = (IPHONE,)

    def write(self, variant: Variant, path: Path) -> None:
        """Writes a package whose input is an RGB image, which Core ML passes to the graph as NCHW in 0..255.

        If the variant computes in float16, everything before the head does.
        """
        import numpy as np
        import torch

        with hidden_output():
            (ct,) = (package.load() for package in self.packages)
        deployed = variant.with_input(variant.program(), nhwc=False)
        shape = (1, 3, variant.side, variant.side)
        half = ct.transform.FP16ComputePrecision(op_selector=before_head())
        with refusals_of("coremltools"), torch.no_grad():
            model = ct.convert(
                convertible(torch.export.export(deployed, (torch.zeros(shape),))),
                minimum_deployment_target=ct.target.iOS17,
                inputs=[ct.ImageType(name=INPUT_NAME, shape=shape, color_layout=ct.colorlayout.RGB)],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in OUTPUT_NAMES],
                compute_precision=half if variant.half else ct.precision.FLOAT32,
                pass_pipeline=exact_passes(ct),
                skip_model_load=True,
            )
            model.user_defined_metadata[KEY] = to_text(variant.labels)
            model.save(str(path))

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the operations that multiply by weights."""
        spec, _ = read_specification(path)
        block = next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
        return list(operators_of(block))


def exact_passes(ct: Any) -> Any:
    """Returns the passes of coremltools without those that change what a program computes.

    Args:
        ct: The package coremltools.
    """
    pipeline = ct.PassPipeline()
    pipeline.remove_passes(INEXACT_PASSES)
    return pipeline


def convertible(program: ExportedProgram) -> ExportedProgram:
    """Returns a program as operators that coremltools converts without loss."""
    import torch

    lowered: ExportedProgram = program.run_decompositions({torch.ops.aten.gelu.default: spelled_out_gelu})
    drop_no_ops(lowered)
    return lowered


def spelled_out_gelu(x: Tensor, *, approximate: str = "none") -> Any:
    """Returns the approximation of GELU with tanh as single operators, and leaves the exact function as it is.

    coremltools reads no argument that ``torch.export`` passes by name, and would compute the exact function for both.
    """
    if approximate == "none":
        return NotImplemented
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def drop_no_ops(program: ExportedProgram) -> None:
    """Removes operators that return their input unchanged, in place."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and str(node.target) in NO_OPS:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()


def before_head() -> Callable[[Any], bool]:
    """Returns a selector of the operations that may compute in float16: all before the head.

    The head is what reads a parameter of the module of that name, and everything computed from it. MIL names constants
    after the parameters that they were: ``program_head_project_weight``.
    """
    known: dict[str, bool] = {}

    def is_head(operation: Any) -> bool:
        if operation is None:
            return False
        if operation.op_type == "const":
            return HEAD in operation.name.split("_")
        if operation.name not in known:
            known[operation.name] = any(is_head(source) for source in sources(operation))
        return known[operation.name]

    def sources(operation: Any) -> Iterator[Any]:
        for value in operation.inputs.values():
            for variable in value if isinstance(value, list | tuple) else [value]:
                yield variable.op

    return lambda operation: not is_head(operation)


def operators_of(block: Any) -> Iterator[Operator]:
    """Yields the convolutions and linear layers of a block of an ML program."""
    made = {output.name: operation for operation in block.operations for output in operation.outputs}

    def argument(operation: Any, name: str) -> Any:
        bound = operation.inputs[name].arguments if name in operation.inputs else ()
        return made.get(bound[0].name) if bound else None

    for operation in block.operations:
        if operation.type not in WEIGHT_ARGUMENTS:
            continue
        weight, source = argument(operation, WEIGHT_ARGUMENTS[operation.type]), argument(operation, "x")
        while source is not None and source.type in ("cast", "transpose", "reshape"):
            source = argument(source, "x")
        if weight is None or not (weight.type == "const" or weight.type.startswith("constexpr")):
            continue
        shape = [d.constant.size for d in weight.outputs[0].type.tensorType.dimensions]
        yield Operator(weight_key(shape), source is not None and source.type == "dequantize")
