"""Integer kernels in PyTorch: by hand, and against ONNX Runtime's own to the last bit."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from arbex.checkpoint import load_run, open_run
from arbex.progress import SILENT
from calibration import TensorRange
from export.channel_equalization import equalize_channels
from export.golden_images import drawn_faces
from export.int8_calibration import CalibrationRequest, calibrate_run, normalized
from export.trace import trace
from quantize.kernel_emulation import as_kernels_compute
from quantize.operators import LINEAR, QUANTIZE, RELU
from quantize.patterns import calls, is_dequantized
from quantize.program import quantize
from quantize.recipe import CPU
from runtimes.onnx_runtime import session_options
from tests.programs import exported


def linear_program(weight: list[list[float]], bias: list[float]) -> GraphModule:
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    return exported(layer, torch.zeros(2, len(weight[0])))


def test_a_layer_by_hand() -> None:
    # Input: scale 1, zero point -128 (0..255). Weights: scale 127/127 = 1. Output: scale 510/255 = 2, zero point -128.
    program = linear_program([[127.0, 1.0]], [3.4])
    ranges = {"input_1": TensorRange(0.0, 255.0), "linear": TensorRange(0.0, 510.0)}
    exact = as_kernels_compute(quantize(program, ranges, CPU))
    values = torch.tensor([[1.0, 3.0], [2.0, 0.4], [300.0, 0.0], [0.0, 0.0]])
    # Sums with the bias as 3: 127 + 3 + 3 = 133, 254 + 0 + 3 = 257, 255 x 127 + 3, 3; halved and rounded to even:
    # 66.5 to 66, 128.5 to 128, cut at 255, 1.5 to 2.
    assert exact(values).flatten().tolist() == [132.0, 256.0, 510.0, 4.0]
    layers = [n for n in exact.graph.nodes if calls(n, (LINEAR,))]
    assert [is_dequantized(n.args[0]) for n in layers] == [False]


def test_sums_beyond_float32_are_computed_in_float64() -> None:
    wide = torch.full((1, 2000), 1.0)
    wide[0, 1] = -1.0
    program = linear_program(wide.tolist(), [0.0])
    ranges = {"input_1": TensorRange(0.0, 255.0), "linear": TensorRange(0.0, 510000.0)}
    exact = as_kernels_compute(quantize(program, ranges, CPU))
    kinds = {b.dtype for name, b in exact.named_buffers() if name.startswith("weight_of")}
    assert kinds == {torch.float64}
    # 1998 x 255 x 127 = 64,705,230 products of 1/127 each: more than float32 counts, 509,490 of 2000 per step.
    assert exact(torch.cat([torch.full((1, 1), 255.0), torch.full((1, 1999), 255.0)], dim=1)).item() == 510000.0


class Comparison(Interpreter):
    """Runs a program, compares every quantized tensor with a runtime's, and continues with the runtime's."""

    def __init__(self, program: GraphModule, theirs: list[NDArray[np.int16]]) -> None:
        super().__init__(program)
        self.theirs = iter(theirs)
        self.shares: defaultdict[str, list[float]] = defaultdict(list)  # of values that differ, by operator

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        if not calls(n, (QUANTIZE,)):
            return value
        theirs = torch.from_numpy(next(self.theirs).astype(np.int8)).reshape(value.shape)
        source = n.args[0].args[0] if calls(n.args[0], RELU) else n.args[0]  # type: ignore[union-attr]
        self.shares[str(source.target)].append(float((value != theirs).double().mean()))  # type: ignore[union-attr]
        return theirs


def onnx_tensors(path: Path, pixels: NDArray[np.uint8]) -> list[NDArray[np.int16]]:
    """Returns every quantized activation of a file, in its order, as ONNX Runtime computes it; from 0..255."""
    model = onnx.load(str(path))
    names = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    values = session.run(names, {"image": pixels})
    return [value.astype(np.int16) - 128 for value in values]


@pytest.fixture(scope="module")
def for_cpu(run: Path, faces: Path) -> tuple[GraphModule, Tensor, NDArray[np.uint8]]:
    """The int8 program that the bundles were made from, and images as it and as the files take them."""
    traced = equalize_channels(trace(load_run(run)))
    table, _ = calibrate_run(open_run(run), traced, CalibrationRequest(source=str(faces), samples=32), SILENT)
    pixels = drawn_faces(64)[:16]
    (images,) = normalized([pixels], traced.preprocessing)
    return quantize(traced.program, table.ranges, CPU), images, pixels


def test_onnx_runtime_computes_layers_to_the_last_bit(
    for_cpu: tuple[GraphModule, Tensor, NDArray[np.uint8]], bundles: Path
) -> None:
    program, images, pixels = for_cpu
    theirs = onnx_tensors(bundles / "cpu/artifacts/model.int8.onnx", pixels)
    plain, exact = (Comparison(p, theirs) for p in (program, as_kernels_compute(program)))
    with torch.inference_mode():
        plain.run(images)
        exact.run(images)
    layers = exact.shares.pop("aten.mul.Tensor") + exact.shares["aten.conv2d.default"]  # these are the stems
    assert len(layers) == 12 + 2
    assert set(layers) == {0.0}
    assert all(max(shares) < 1e-3 for shares in exact.shares.values())
    assert 0 < max(plain.shares["aten.conv2d.default"]) < 1e-2
