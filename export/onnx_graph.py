"""Lowering to ONNX: one file, opset 18, Q/DQ pairs that ONNX Runtime and TensorRT understand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from export.trace import MAX_BATCH

OPSET = 18
"""TensorRT 10.3 and 11.4 both read it, and LayerNormalization is one operator from 17 on."""


def translations(unsigned: bool) -> dict[Any, Callable[..., Any]]:
    """Returns how quantized operators of a program become ONNX: constant scales and zero points.

    The names of the functions' parameters are those of the torch operators; the exporter goes by them.

    Args:
        unsigned: Store activations as uint8 with zero points moved by 128, which are the same numbers. ONNX Runtime
            on x86 fuses no convolution with int8 activations.
    """
    from onnx.numpy_helper import from_array
    from onnxscript import opset18 as op

    def scalar(value: float, dtype: type[np.generic]) -> Any:
        return op.Constant(value=from_array(np.array(value, dtype=dtype)))

    def zero(point: int) -> Any:
        return scalar(point + 128, np.uint8) if unsigned else scalar(point, np.int8)

    def quantize(x, scale, zero_point, quant_min, quant_max, dtype):  # type: ignore[no-untyped-def]  # noqa: ANN001
        return op.QuantizeLinear(x, scalar(scale, np.float32), zero(zero_point))

    def dequantize(x, scale, zero_point, quant_min, quant_max, dtype, out_dtype=None):  # type: ignore[no-untyped-def]  # noqa: ANN001
        return op.DequantizeLinear(x, scalar(scale, np.float32), zero(zero_point))

    def dequantize_channels(  # type: ignore[no-untyped-def]
        x,  # noqa: ANN001
        scales,  # noqa: ANN001
        zero_points,  # noqa: ANN001
        axis,  # noqa: ANN001
        quant_min,  # noqa: ANN001
        quant_max,  # noqa: ANN001
        dtype,  # noqa: ANN001
        out_dtype=None,  # noqa: ANN001
    ):
        return op.DequantizeLinear(x, op.Cast(scales, to=1), op.Cast(zero_points, to=3), axis=axis)

    quantized = torch.ops.quantized_decomposed
    return {
        quantized.quantize_per_tensor.default: quantize,
        quantized.dequantize_per_tensor.default: dequantize,
        quantized.dequantize_per_channel.default: dequantize_channels,
    }


def write_onnx(deployed: nn.Module, side: int, path: Path, *, unsigned: bool = False) -> None:
    """Writes a program as ONNX.

    Args:
        deployed: From uint8 ``[B, S, S, 3]`` to the three outputs.
        side: S.
        path: The file to write.
        unsigned: Store quantized activations as uint8.

    Raises:
        MissingPackageError: If onnx, onnxscript or onnxsim is not installed.
        BackendError: If the exporter or the simplifier refuses; the cause is chained.
    """
    try:
        import onnx
        import onnxsim
        import torch.ao.quantization.fx._decomposed  # noqa: F401 - registers the quantized operators

        table = translations(unsigned)
    except ImportError as error:
        raise MissingPackageError(error.name or "onnx", "export to ONNX", extra="export") from error
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                deployed,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                custom_translation_table=table,
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}},
                verbose=False,
            )
            assert program is not None
            simplified, same = onnxsim.simplify(program.model_proto)
            onnx.checker.check_model(simplified, full_check=True)
    except Exception as error:
        raise BackendError(f"The ONNX exporter refused the program: {first_line(error)}") from error
    if not same:
        raise BackendError("onnxsim changed the graph's results.", remedy="Report the model's architecture.")
    onnx.save(simplified, str(path))


def first_line(error: BaseException) -> str:
    """Returns the first line of a vendor's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
