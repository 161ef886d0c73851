"""INT8 means the same on every processor: where ONNX Runtime's sums would saturate, a session takes exact kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from runtimes.onnx_runtime import session_options
from runtimes.saturation import LARGEST, PROBE, sums_saturate


def probe() -> onnx.ModelProto:
    """Returns the graph that asks the processor."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["values", "weights"], ["sums"])],
        "saturation",
        [helper.make_tensor_value_info("values", TensorProto.UINT8, [1, 4])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 1])],
        [from_array(np.full((4, 1), 127, np.int8), "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_the_probe_is_the_graph_that_it_is_said_to_be() -> None:
    onnx.checker.check_model(probe(), full_check=True)
    assert PROBE.read_bytes() == probe().SerializeToString()


def convolution() -> bytes:
    """Returns a quantized convolution of 1 x 1 over 16 channels whose products in pairs exceed 16 bits."""
    constants = {
        "one": np.float32(1),
        "weights": np.full((16, 16, 1, 1), 127, np.int8),
        "scales": np.full(16, 1 / 127, np.float32),
        "points": np.zeros(16, np.int8),
        "step": np.float32(16),
        "zero": np.uint8(0),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["values", "one", "zero"], ["real"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "points"], ["kernel"], axis=0),
        helper.make_node("Conv", ["real", "kernel"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "step", "zero"], ["quantized"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("values", TensorProto.UINT8, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("quantized", TensorProto.UINT8, [1, 16, 8, 8])],
        [from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def run(options: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(convolution(), options, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"values": np.full((1, 16, 8, 8), LARGEST, np.uint8)})
    return np.asarray(answer)


def test_a_session_of_ours_sums_exactly_on_this_processor() -> None:
    # 16 channels of 255 and weights of 1, in steps of 16: 255. Pairs that are cut at 32,767 give half of that.
    assert (run(session_options()) == LARGEST).all()


def test_a_session_without_our_options_is_wrong_where_the_probe_says_so() -> None:
    exact = bool((run(onnxruntime.SessionOptions()) == LARGEST).all())
    assert exact is not sums_saturate(onnxruntime)
