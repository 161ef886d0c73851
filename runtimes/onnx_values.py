"""Every value that an ONNX file computes, from a copy of it in which all of them are outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arbex.packages import Package
from arbex.spec import INPUT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

ONNX_PACKAGE = Package(module="onnx", distribution="onnx", purpose="finding where .onnx files differ", extra="export")
RUNTIME_PACKAGE = Package(
    module="onnxruntime", distribution="onnxruntime", purpose="running .onnx files", extra="onnxruntime"
)


def values_of(path: Path, images: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
    """Returns the values in float32 that a file computes, by name. Operators are not fused, so that all exist.

    Args:
        path: The file.
        images: uint8 RGB ``[B, S, S, 3]``.

    Raises:
        MissingPackageError: If onnx or onnxruntime is not installed.
    """
    onnx, onnxruntime = ONNX_PACKAGE.load(), RUNTIME_PACKAGE.load()
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    known = {output.name for output in model.graph.output}
    for value in model.graph.value_info:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in known:
            model.graph.output.append(value)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT_NAME: images}), strict=True))
