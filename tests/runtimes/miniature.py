"""A bundle of a few kilobytes that ONNX Runtime runs: the mean color of an image is its expression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from arbex.provenance import Provenance
from arbex.spec import OUTPUT_NAMES, Preprocessing
from export.bundle_writer import record_files
from runtimes.base import Prediction
from runtimes.golden import Golden, pack_golden
from runtimes.manifest import NAME, Artifact, Manifest, Recorded, Thresholds

SIDE = 8
LABELS = ("anger", "fear", "neutral")
ARTIFACT = "artifacts/model.fp32.onnx"
CLOSE = Thresholds(max_abs_error=1e-5)


def graph() -> onnx.ModelProto:
    """Returns ``softmax(mean of red, green, blue / 255)`` as both distributions, and its largest as confidence."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["color"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["color", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["corrected"], axis=1),
        helper.make_node("Identity", ["corrected"], ["primary"]),
        helper.make_node("ReduceMax", ["corrected"], ["confidence"], axes=[1], keepdims=0),
    ]
    shapes = {"corrected": ["batch", 3], "primary": ["batch", 3], "confidence": ["batch"]}
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in OUTPUT_NAMES]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [255.0])
    made = helper.make_graph(nodes, "miniature", [image], outputs, [scale])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def answers(images: np.ndarray) -> Prediction:
    """Returns what the graph answers for uint8 ``[n, SIDE, SIDE, 3]``."""
    powers = np.exp(images.astype(np.float32).mean((1, 2)) / 255)
    corrected = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
    return Prediction(corrected, corrected, corrected.max(1))


def write_miniature(
    folder: Path, thresholds: Thresholds = CLOSE, *, run: str = "../run", recorded: Recorded | None = None
) -> Path:
    """Writes the bundle; files that are already in ``folder`` are listed in its manifest.

    With ``recorded``, its answers at export are among the golden vectors.
    """
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    onnx.save(graph(), folder / ARTIFACT)
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    before = {Path(ARTIFACT).name: answers(images)} if recorded else {}
    golden = Golden(images=images, expected=answers(images), recorded=before)
    (folder / "golden.npz").write_bytes(pack_golden(golden))
    seal(folder, thresholds, run=run, recorded=recorded)
    return folder


def seal(
    folder: Path, thresholds: Thresholds = CLOSE, *, run: str = "../run", recorded: Recorded | None = None
) -> None:
    """Writes the manifest of what is in ``folder``."""
    artifact = Artifact(file=ARTIFACT, format="onnx", precision="fp32", thresholds=thresholds, recorded=recorded)
    origin = Provenance(
        checkpoint="0" * 64,
        preset="tiny",
        method="arbex",
        epoch=1,
        data="",
        preprocessing=Preprocessing(SIDE).digest,
        tools={},
        run=run,
    )
    manifest = Manifest(
        target="cpu",
        labels=LABELS,
        preprocessing=Preprocessing(SIDE),
        artifacts=(artifact,),
        provenance=origin,
        files=record_files(folder),
    )
    (folder / NAME).write_text(manifest.dump(), encoding="utf-8")
