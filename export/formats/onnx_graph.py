"""ONNX for Jetsons and any CPU: one file, opset 18, with Q/DQ pairs that ONNX Runtime and TensorRT understand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.errors import BackendError
from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from export.formats.base import Writer, refusals_of
from export.formats.onnx_precautions import PASSING, keep_in_float, producer_of, separate_zero_points
from export.operators import Operator, weight_key
from export.targets import Target
from quantize.recipe import ACCELERATOR, CPU
from runtimes.class_names import KEY, to_text
from runtimes.onnx_runtime import ONNX

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from export.programs import Variant

OPSET = 18
"""Both TensorRT 10.3 and 11.4 read this opset; from 17 on, LayerNormalization is one operator."""

JETSON = Target(
    name="jetson",
    formats=(ONNX.name,),
    precisions=("fp16", "int8"),
    device="NVIDIA Jetson with TensorRT 10 or 11",
    recipe=ACCELERATOR,
    half=True,
    compute_capability="8.7",
    usage="""On the device, compile the graph once; the engine is bound to this GPU and TensorRT version:

    trtexec --onnx={artifact} --stronglyTyped --saveEngine=model.engine \\
        --minShapes=image:1x{side}x{side}x3 --optShapes=image:1x{side}x{side}x3 --maxShapes=image:8x{side}x{side}x3

The precision is in the graph; TensorRT needs no calibration cache and no precision flag. On TensorRT 11, where
strong typing is the only mode, leave `--stronglyTyped` out.""",
)

ANY_CPU = Target(
    name="cpu",
    formats=(ONNX.name,),
    precisions=("fp32", "int8"),
    device="any CPU, through ONNX Runtime",
    recipe=CPU,
    usage="""With ONNX Runtime:

    options = onnxruntime.SessionOptions()
    # On x86 processors without VNNI, int8 is only exact with this option; on others it only costs time.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession("{artifact}", options)
    corrected, primary, confidence = session.run(None, {{"image": pixels}})  # uint8 [B, {side}, {side}, 3]""",
)

INTEGER = {"QLinearConv": 3, "ConvInteger": 1, "QGemm": 3, "MatMulInteger": 1, "MatMulIntegerToFloat": 1}
"""ONNX Runtime's integer operators, and which of their inputs is the weight."""

FLOATING = {"Conv": 1, "FusedConv": 1, "ConvTranspose": 1, "Gemm": 1, "FusedGemm": 1, "MatMul": 1, "FusedMatMul": 1}


class OnnxGraph(Writer):
    """Writes ``.onnx`` files, strongly typed."""

    format = ONNX
    packages = tuple(
        Package(module=name, distribution=name, purpose="writing .onnx files", extra="export")
        for name in ("onnx", "onnxscript", "onnxsim")
    )
    targets = (JETSON, ANY_CPU)

    def write(self, variant: Variant, path: Path) -> None:
        """Writes a graph for any batch size, from uint8 ``[B, S, S, 3]``."""
        from export.half_precision import to_half
        from export.rewrites import flatten_linear_layers, spell_out_prelus

        program = variant.program()
        program = to_half(program) if variant.half else spell_out_prelus(flatten_linear_layers(program))
        unsigned = variant.recipe.has_zero_points
        write_onnx(variant.with_input(program), variant.side, path, unsigned=unsigned, labels=variant.labels)

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the operators as ONNX Runtime optimizes them, or, in a file for TensorRT, as they are."""
        # ONNX Runtime's integer kernels want zero points; ONNX files without are for TensorRT.
        return onnx_runtime_operators(path) if variant.recipe.has_zero_points else onnx_operators(path)


def translations(unsigned: bool) -> dict[Any, Callable[..., Any]]:
    """Returns the ONNX translations of quantized operators, which have constant scales and zero points.

    The functions' parameters have the names of the torch operators' parameters, since the exporter passes by name.

    Args:
        unsigned: Whether to store activations as uint8 with zero points moved by 128, which are the same numbers. ONNX
            Runtime on x86 fuses no convolution with int8 activations.
    """
    import numpy as np
    import torch
    from onnx.numpy_helper import from_array
    from onnxscript import opset18 as op

    def scalar(value: float, dtype: type[np.generic]) -> Any:
        return op.Constant(value=from_array(np.array(value, dtype=dtype)))

    def zero(point: int) -> Any:
        return scalar(point + 128, np.uint8) if unsigned else scalar(point, np.int8)

    def quantize(x, scale, zero_point, quant_min, quant_max, dtype):  # type: ignore[no-untyped-def]
        return op.QuantizeLinear(x, scalar(scale, np.float32), zero(zero_point))

    def dequantize(x, scale, zero_point, quant_min, quant_max, dtype, out_dtype=None):  # type: ignore[no-untyped-def]
        return op.DequantizeLinear(x, scalar(scale, np.float32), zero(zero_point))

    def dequantize_channels(  # type: ignore[no-untyped-def]
        x, scales, zero_points, axis, quant_min, quant_max, dtype, out_dtype=None
    ):
        return op.DequantizeLinear(x, op.Cast(scales, to=1), op.Cast(zero_points, to=3), axis=axis)

    quantized = torch.ops.quantized_decomposed
    return {
        quantized.quantize_per_tensor.default: quantize,
        quantized.dequantize_per_tensor.default: dequantize,
        quantized.dequantize_per_channel.default: dequantize_channels,
    }


def write_onnx(
    deployed: nn.Module, side: int, path: Path, *, unsigned: bool = False, labels: Sequence[str] = ()
) -> None:
    """Writes a program as ONNX.

    Args:
        deployed: Module from uint8 ``[B, S, S, 3]`` to the three outputs.
        side: S.
        path: The file to write.
        unsigned: Whether ONNX Runtime runs the file in INT8: activations are stored as uint8.
        labels: Class names for the metadata of the file.

    Raises:
        MissingPackageError: If onnx, onnxscript or onnxsim is not installed.
        BackendError: If the exporter or the simplifier fails; the cause is chained.
    """
    import torch
    import torch.ao.quantization.fx._decomposed

    from export.trace import MAX_BATCH

    onnx, _, onnxsim = (package.load() for package in OnnxGraph.packages)
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    with refusals_of("The ONNX exporter"), torch.no_grad():
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table=translations(unsigned),
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}},
            verbose=False,
        )
        assert program is not None
        simplified, same = onnxsim.simplify(program.model_proto)
        onnx.checker.check_model(simplified, full_check=True)
    if not same:
        raise BackendError(
            "onnxsim changed the graph's results.", remedy="Report this with the architecture of the model."
        )
    separate_zero_points(simplified.graph)
    if unsigned:
        keep_in_float(simplified.graph)
    onnx.helper.set_model_props(simplified, {KEY: to_text(labels)} if labels else {})
    onnx.save(simplified, str(path))


def onnx_operators(path: Path, *, fused: bool = False) -> list[Operator]:
    """Returns the operators of an ONNX file.

    Args:
        path: The file.
        fused: Whether a runtime has optimized the file, so that only integer operators count. Otherwise operators
            between Q/DQ pairs count too, since TensorRT fuses them.
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
        weight, source = node.input[place], producer_of(node.input[0], made, PASSING)
        dequantized = source is not None and source.op_type == "DequantizeLinear"
        while weight in made and made[weight].op_type in (*PASSING, "DequantizeLinear"):
            weight = made[weight].input[0]
        if weight in shapes:
            found.append(Operator(weight_key(shapes[weight]), node.op_type in INTEGER or (dequantized and not fused)))
    return found


def onnx_runtime_operators(path: Path) -> list[Operator]:
    """Returns the operators of a file after ONNX Runtime's optimization; those that it did not fuse are in float."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3
        # The next level would rearrange weights for this processor.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx_operators(optimized, fused=True)
