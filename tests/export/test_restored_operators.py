"""Files in which some operators are in float and their neighbors in INT8 compute what the gate has judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from arbex.checkpoint import load_run, open_run
from arbex.progress import SILENT
from export.channel_equalization import equalize_channels
from export.formats.onnx_graph import onnx_runtime_operators
from export.formats.onnx_precautions import keep_in_float
from export.gate import answers_of
from export.golden_images import drawn_faces
from export.int8_calibration import CalibrationRequest, calibrate_run
from export.programs import Programs
from export.registry import TARGETS, WRITERS
from export.trace import trace
from runtimes.comparison import compare
from runtimes.quiet_runs import run_quietly, run_unrounded
from runtimes.vendor_output import hidden_output


@pytest.fixture(scope="module")
def programs(run: Path, faces: Path) -> Programs:
    """The programs of a run, with every second layer in float."""
    traced = equalize_channels(trace(load_run(run)))
    table, _ = calibrate_run(open_run(run), traced, CalibrationRequest(source=str(faces), samples=32), SILENT)
    layers = [node.name for node in traced.program.graph.nodes if "conv2d" in str(node.target)]
    return Programs(traced, table.ranges, tuple(layers[1::2]))


@pytest.mark.parametrize(
    ("target", "name"), [("cpu", "onnx"), ("android", "tflite"), ("executorch", "pte"), ("iphone", "mlpackage")]
)
def test_a_file_with_restored_operators_computes_its_program(
    programs: Programs, target: str, name: str, tmp_path: Path
) -> None:
    variant, path = programs.variant(TARGETS[target], "int8"), tmp_path / f"model.{name}"
    writer = WRITERS[name]
    with hidden_output():
        writer.write(variant, path)
    images = drawn_faces(64)
    program = answers_of(variant.as_kernels_compute(), programs.traced, images, half=variant.recipe.half)
    assert writer.format.runtime is not None
    with writer.format.runtime(path, 64) as runtime:
        found = (run_unrounded if runtime.rounds_to_half else run_quietly)(runtime, images)
    assert compare(program, found).mean_kl < 1e-6
    kinds = [operator.int8 for operator in writer.read_operators(path, variant)]
    assert kinds.count(False) >= len(programs.restored)
    assert kinds.count(True) >= 4


def layer_between_quantized_tensors(kind: str, between: str, *, bias: bool) -> onnx.ModelProto:
    """Returns a graph from uint8 to uint8 around a layer with float weights of very different sizes."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(8, 8) if kind == "Gemm" else (8, 8, 3, 3)).astype(np.float32)
    weight[0] *= 100
    shape, perm = ((2, 8, 6, 6), [0, 1, 3, 2]) if kind != "Gemm" else ((2, 8), [0, 1])
    attributes = {"MaxPool": {"kernel_shape": [2, 2]}, "Transpose": {"perm": perm}, "Identity": {}}
    layer = ["passed", "weight", "bias"] if bias else ["passed", "weight"]
    nodes = [
        make_node("DequantizeLinear", ["values", "step", "zero"], ["source"]),
        make_node(between, ["source"], ["passed"], **attributes[between]),
        make_node(kind, layer, ["sums"], **({"transB": 1} if kind == "Gemm" else {})),
        make_node("QuantizeLinear", ["sums", "wide_step", "zero"], ["answer"]),
    ]
    constants = {
        "step": np.float32(0.01),
        "wide_step": np.float32(0.1),
        "zero": np.uint8(128),
        "weight": weight,
        "bias": generator.normal(size=8).astype(np.float32),
    }
    graph = make_graph(
        nodes,
        "graph",
        [make_tensor_value_info("values", TensorProto.UINT8, shape)],
        [make_tensor_value_info("answer", TensorProto.UINT8, [None] * len(shape))],
        [from_array(np.array(value), name) for name, value in constants.items() if bias or name != "bias"],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "between"),
    [
        ("Conv", "Identity"),
        ("Conv", "MaxPool"),
        ("Conv", "Transpose"),
        ("Gemm", "Identity"),
        ("Gemm", "Transpose"),
        ("ConvTranspose", "Identity"),
    ],
)
def test_onnx_runtime_leaves_float_weights_alone(kind: str, between: str, bias: bool, tmp_path: Path) -> None:
    """By itself, it rounds them with one scale for all channels."""
    model = layer_between_quantized_tensors(kind, between, bias=bias)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    values = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)

    def answer(*, optimized: bool) -> NDArray[np.uint8]:
        options = onnxruntime.SessionOptions()
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found: NDArray[np.uint8] = session.run(None, {"values": values})[0]
        return found

    exact = answer(optimized=False)
    assert (answer(optimized=True) != exact).mean() > 0.1
    keep_in_float(model.graph)
    onnx.checker.check_model(model, full_check=True)
    assert (answer(optimized=True) != exact).mean() < 0.001
    onnx.save(model, tmp_path / "model.onnx")
    assert [operator.int8 for operator in onnx_runtime_operators(tmp_path / "model.onnx")] == [False]
