"""Copies of ONNX files that output every value that they compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arbex.packages import Package

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = Package(module="onnx", distribution="onnx", purpose="finding where .onnx files differ", extra="export")


def with_all_outputs(path: Path) -> bytes:
    """Returns a file with every value in float32 as an output, under its name, after the outputs that it had.

    Raises:
        MissingPackageError: If onnx is not installed.
    """
    onnx = PACKAGE.load()
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    known = {output.name for output in model.graph.output}
    for value in model.graph.value_info:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in known:
            model.graph.output.append(value)
    out: bytes = model.SerializeToString()
    return out
