"""ONNX files that compute in float16, with every value in float32.

How a sum in float16 rounds depends on the order in which a processor adds. In float32, the same file gives the same
answers on every processor, almost to the last bit, so that a small mistake in it stands out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arbex.packages import Package

PACKAGE = Package(
    module="onnx", distribution="onnx", purpose="comparing .onnx files in float16 exactly", extra="export"
)


def holds_half(path: Path) -> bool:
    """Tells whether a file holds numbers in float16.

    Raises:
        MissingPackageError: If onnx is not installed.
    """
    onnx = PACKAGE.load()
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in tensors_of(onnx.load(str(path))))


def tensors_of(model: Any) -> list[Any]:
    """Returns the constants of a model."""
    constants = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    return [*model.graph.initializer, *constants]


def widened(path: Path) -> bytes:
    """Returns a file with every value in float32 that was in float16.

    Raises:
        MissingPackageError: If onnx is not installed.
    """
    import numpy as np

    onnx = PACKAGE.load()
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    model = onnx.load(str(path))
    for tensor in tensors_of(model):
        if tensor.data_type == half:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "output_dtype", "dtype") and attribute.i == half:
                attribute.i = single
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single
    out: bytes = model.SerializeToString()
    return out
