"""Files that compute in float16 are compared with everything in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from arbex.errors import MissingPackageError
from runtimes import open_bundle
from runtimes.base import Prediction
from runtimes.golden import Golden, pack_golden
from runtimes.manifest import Recorded, Thresholds
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.onnx_widening import holds_half, widened
from runtimes.quiet_runs import run_unrounded
from runtimes.verification import verify_bundle
from tests.arbex.test_prediction import Steps
from tests.runtimes.miniature import ARTIFACT, SIDE, graph, seal, write_miniature
from tests.runtimes.test_deviation import STRICT

IMAGES = np.random.default_rng(0).integers(0, 256, (32, SIDE, SIDE, 3), dtype=np.uint8)


def half_graph(scale: float = 255.0) -> onnx.ModelProto:
    """Returns the miniature, but its colors are divided in float16 by a constant, and a Constant node adds zero."""
    made = graph()
    nodes = [
        helper.make_node("Cast", ["color"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Div", ["half", "scale"], ["quotient"]),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.zeros(3, np.float16))),
        helper.make_node("Add", ["quotient", "zero"], ["half_logits"]),
        helper.make_node("Cast", ["half_logits"], ["logits"], to=TensorProto.FLOAT),
    ]
    old = list(made.graph.node)
    del made.graph.node[:]
    made.graph.node.extend([*old[:2], *nodes, *old[3:]])
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(scale, np.float16), "scale"))
    made.graph.value_info.append(helper.make_tensor_value_info("half", TensorProto.FLOAT16, ["batch", 3]))
    return made


def reference(images: np.ndarray) -> np.ndarray:
    """Returns the answers in float64."""
    powers = np.exp(images.astype(np.float64).mean((1, 2)) / 255)
    out: np.ndarray = powers / powers.sum(1, keepdims=True)
    return out


def test_a_widened_file_rounds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(half_graph(), file)
    with OnnxRuntime(file, SIDE) as runtime:
        assert runtime.rounds_to_half
        exact = run_unrounded(runtime, IMAGES)
    assert np.abs(exact.corrected - reference(IMAGES)).max() < 1e-6
    (tmp_path / "wide.onnx").write_bytes(widened(file))
    onnx.checker.check_model(str(tmp_path / "wide.onnx"), full_check=True)
    assert not holds_half(tmp_path / "wide.onnx")


def write_half(folder: Path, scale: float = 255.0) -> Path:
    """Writes a bundle whose file computes in float16, with its exact answers at export."""
    write_miniature(folder)
    onnx.save(half_graph(), folder / ARTIFACT)
    with OnnxRuntime(folder / ARTIFACT, SIDE) as runtime:
        before = run_unrounded(runtime, IMAGES)
    onnx.save(half_graph(scale), folder / ARTIFACT)
    expected = Prediction(*(values.astype(np.float32) for values in before))
    golden = Golden(images=IMAGES, expected=expected, recorded={Path(ARTIFACT).name: before})
    (folder / "golden.npz").write_bytes(pack_golden(golden))
    recorded = Recorded(runtime=STRICT.runtime, version=STRICT.version, exact=True, limits=STRICT.limits)
    seal(folder, Thresholds(golden_kl=1e-3), recorded=recorded)
    return folder


def test_a_small_mistake_in_a_file_of_float16_is_found(tmp_path: Path) -> None:
    assert verify_bundle(open_bundle(write_half(tmp_path / "good"))).passed
    (row,) = verify_bundle(open_bundle(write_half(tmp_path / "bad", scale=260.0))).artifacts
    assert "typical error" in row.why


def test_progress_counts_both_answers_to_every_golden_image(tmp_path: Path) -> None:
    steps = Steps()
    verify_bundle(open_bundle(write_half(tmp_path / "good")), report=steps)
    assert steps.steps == [16, 32, 48, 64, 64]


def test_without_onnx_the_row_says_what_was_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_half(tmp_path / "good")

    def missing(self: OnnxRuntime) -> bool:
        raise MissingPackageError("onnx", "comparing files in float16 exactly", extra="export")

    monkeypatch.setattr(OnnxRuntime, "rounds_to_half", property(missing))
    (row,) = verify_bundle(open_bundle(folder)).artifacts
    assert row.passed
    assert "compared with PyTorch only" in row.why
    assert "arbex[export]" in row.why
