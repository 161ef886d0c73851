"""The manifest against JSON written by hand: what it holds, what it refuses, and that no type changes on the way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from arbex.errors import BundleError
from arbex.provenance import (
    CalibrationRecord,
    Elementwise,
    Island,
    OperatorCost,
    PredictedPoint,
    Provenance,
    Recipe,
    Tradeoff,
    Trial,
    Work,
)
from arbex.spec import Preprocessing
from runtimes.manifest import Artifact, FileRecord, Manifest, Thresholds

VALUE: dict[str, Any] = {
    "schema": 2,
    "input": {"name": "image", "dtype": "uint8", "layout": "NHWC", "shape": ["batch", 64, 64, 3]},
    "outputs": [
        {"name": "corrected", "dtype": "float32", "shape": ["batch", 2]},
        {"name": "primary", "dtype": "float32", "shape": ["batch", 2]},
        {"name": "confidence", "dtype": "float32", "shape": ["batch"]},
    ],
    "target": "cpu",
    "compute_capability": "",
    "confidence_threshold": 0.25,
    "labels": ["anger", "fear"],
    "preprocessing": {"image_size": 64, "mean": [0.5, 0.25, 0.125], "std": [1.0, 0.5, 0.25], "resize": "bilinear"},
    "artifacts": [
        {
            "file": "artifacts/model.int8.onnx",
            "format": "onnx",
            "precision": "int8",
            "thresholds": {
                "max_abs_error": None,
                "mean_kl": 0.005,
                "top1_agreement": 0.98,
                "confidence_rank_correlation": 0.95,
                "confidence_flips": None,
                "ece_delta": None,
                "recall_change": -0.1,
                "golden_kl": 0.02,
                "program_kl": None,
            },
            "content": {"inputs": ["image"]},
            "work": {
                "macs": 100,
                "int8_macs": 90,
                "islands": [{"reason": "a stem", "operators": 2, "macs": 10, "modules": ["encoder.stem"]}],
                "elementwise": [{"operator": "add", "operators": 3, "values": 7, "reason": "sums"}],
            },
            "recorded": None,
        }
    ],
    "provenance": {
        "checkpoint": "c0ffee",
        "preset": "tiny",
        "method": "arbex",
        "epoch": 8,
        "data": "faces",
        "preprocessing": "facade",
        "tools": {"torch": "2.13.0"},
        "run": "../run",
        "calibration": {"digest": "decade", "images": 64, "calibrator": "mse", "samples": ["a1", "b2"]},
        "recipe": {
            "name": "w8a8",
            "operators": ["conv"],
            "outputs": ["conv"],
            "min_channels": 4,
            "fused": ["relu"],
            "additions": ["add"],
            "movements": ["view"],
            "biases": ["sdpa"],
            "float_operators": ["conv2d_1"],
            "activation": "per_tensor_affine",
            "weight": "per_channel_symmetric",
            "half": False,
        },
        "sensitivity": {
            "restored": ["conv2d_1"],
            "trials": [{"restored": 1, "int8_share": 0.75, "predicted_kl": 0.001, "mean_kl": 0.002, "agreement": 0.99}],
            "predicted": [{"int8_share": 0.875, "kl": 0.003}],
            "operators": [{"operator": "conv2d_1", "module": "encoder.stem", "macs": 10, "kl": 0.004}],
        },
    },
    "files": {"artifacts/model.int8.onnx": {"size": 12, "sha256": "beef"}},
}

MANIFEST = Manifest(
    target="cpu",
    confidence_threshold=0.25,
    labels=("anger", "fear"),
    preprocessing=Preprocessing(64, mean=(0.5, 0.25, 0.125), std=(1.0, 0.5, 0.25)),
    artifacts=(
        Artifact(
            file="artifacts/model.int8.onnx",
            format="onnx",
            precision="int8",
            thresholds=Thresholds(
                mean_kl=0.005,
                top1_agreement=0.98,
                confidence_rank_correlation=0.95,
                recall_change=-0.1,
                golden_kl=0.02,
            ),
            content={"inputs": ["image"]},
            work=Work(
                macs=100,
                int8_macs=90,
                islands=(Island(reason="a stem", operators=2, macs=10, modules=("encoder.stem",)),),
                elementwise=(Elementwise(operator="add", operators=3, values=7, reason="sums"),),
            ),
        ),
    ),
    provenance=Provenance(
        checkpoint="c0ffee",
        preset="tiny",
        method="arbex",
        epoch=8,
        data="faces",
        preprocessing="facade",
        tools={"torch": "2.13.0"},
        run="../run",
        calibration=CalibrationRecord(digest="decade", images=64, calibrator="mse", samples=("a1", "b2")),
        recipe=Recipe(
            name="w8a8",
            operators=("conv",),
            outputs=("conv",),
            min_channels=4,
            fused=("relu",),
            additions=("add",),
            movements=("view",),
            biases=("sdpa",),
            float_operators=("conv2d_1",),
            activation="per_tensor_affine",
        ),
        sensitivity=Tradeoff(
            restored=("conv2d_1",),
            trials=(Trial(restored=1, int8_share=0.75, predicted_kl=0.001, mean_kl=0.002, agreement=0.99),),
            predicted=(PredictedPoint(int8_share=0.875, kl=0.003),),
            operators=(OperatorCost(operator="conv2d_1", module="encoder.stem", macs=10, kl=0.004),),
        ),
    ),
    files={"artifacts/model.int8.onnx": FileRecord(size=12, sha256="beef")},
)


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """Returns the JSON with one value replaced."""
    value = copy.deepcopy(VALUE)
    inner: Any = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return value


def test_reading_gives_the_values_and_writing_gives_the_json() -> None:
    assert Manifest.from_json(VALUE) == MANIFEST
    assert json.loads(MANIFEST.dump()) == VALUE
    assert MANIFEST.dump().endswith("}\n")


def test_what_is_optional_may_be_null() -> None:
    for path in (("provenance", "calibration"), ("provenance", "recipe"), ("provenance", "sensitivity")):
        assert getattr(Manifest.from_json(changed(*path, to=None)).provenance, path[1]) is None
    assert Manifest.from_json(changed("confidence_threshold", to=None)).confidence_threshold is None
    before = {name: value for name, value in VALUE.items() if name != "confidence_threshold"}
    assert Manifest.from_json(before).confidence_threshold is None  # a bundle of an earlier version
    (artifact,) = Manifest.from_json(changed("artifacts", 0, "work", to=None)).artifacts
    assert artifact.work is None


def test_a_whole_number_is_a_float_where_one_is_expected() -> None:
    found = Manifest.from_json(changed("artifacts", 0, "thresholds", "mean_kl", to=1)).artifacts[0].thresholds.mean_kl
    assert found == 1.0
    assert isinstance(found, float)


@pytest.mark.parametrize(
    ("path", "to", "place"),
    [
        (("target",), 3, "manifest.target"),
        (("target",), None, "manifest.target"),
        (("labels",), "anger", "manifest.labels"),
        (("labels",), {"anger": 0}, "manifest.labels"),
        (("labels",), ["anger", 1], "manifest.labels[1]"),
        (("preprocessing", "image_size"), 64.0, "manifest.preprocessing.image_size"),
        (("preprocessing", "image_size"), True, "manifest.preprocessing.image_size"),
        (("preprocessing", "mean"), [0.5, 0.5], "manifest.preprocessing.mean"),
        (("artifacts",), {}, "manifest.artifacts"),
        (("artifacts", 0, "thresholds", "mean_kl"), "0.1", "manifest.artifacts[0].thresholds.mean_kl"),
        (("artifacts", 0, "thresholds", "mean_kl"), False, "manifest.artifacts[0].thresholds.mean_kl"),
        (("artifacts", 0, "work", "islands", 0, "modules"), "stem", "islands[0].modules"),
        (("provenance", "epoch"), "8", "manifest.provenance.epoch"),
        (("provenance", "tools"), ["torch"], "manifest.provenance.tools"),
        (("provenance", "calibration", "samples"), "a1", "manifest.provenance.calibration.samples"),
        (("provenance", "sensitivity", "trials", 0, "agreement"), None, "trials[0].agreement"),
        (("files", "artifacts/model.int8.onnx", "size"), "12", "manifest.files['artifacts/model.int8.onnx'].size"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(path: tuple[str | int, ...], to: Any, place: str) -> None:
    with pytest.raises(BundleError, match="The manifest is damaged") as told:
        Manifest.from_json(changed(*path, to=to))
    assert place in str(told.value)


REQUIRED: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = [
    *((lambda v: v, name) for name in ("target", "labels", "preprocessing", "artifacts", "provenance")),
    *((lambda v: v["artifacts"][0], name) for name in ("file", "format", "precision", "thresholds")),
    *((lambda v: v["files"]["artifacts/model.int8.onnx"], name) for name in ("size", "sha256")),
    *((lambda v: v["provenance"], name) for name in ("checkpoint", "preset", "method", "epoch", "tools", "run")),
]


@pytest.mark.parametrize(("inside", "name"), REQUIRED, ids=[name for _, name in REQUIRED])
def test_what_is_required_may_not_be_missing(inside: Callable[[dict[str, Any]], dict[str, Any]], name: str) -> None:
    value = copy.deepcopy(VALUE)
    del inside(value)[name]
    with pytest.raises(BundleError, match=f"damaged.*{name}"):
        Manifest.from_json(value)


@pytest.mark.parametrize("schema", [1, 3, "2", None])
def test_another_schema_is_refused_with_its_number(schema: Any) -> None:
    with pytest.raises(BundleError, match=f"schema {schema!r}.*Allowed: 2"):
        Manifest.from_json(changed("schema", to=schema))


@pytest.mark.parametrize("value", [[], "manifest", 2, None])
def test_anything_but_an_object_is_refused(value: Any) -> None:
    with pytest.raises(BundleError, match="not a JSON object"):
        Manifest.from_json(value)


def test_the_name_of_an_artifact_is_that_of_its_file() -> None:
    assert MANIFEST.artifacts[0].name == "model.int8.onnx"


def test_the_share_of_integer_work_is_of_all_multiply_adds() -> None:
    work = MANIFEST.artifacts[0].work
    assert work is not None
    assert work.int8_share == 0.9


def test_a_recipe_has_zero_points_where_activations_are_affine() -> None:
    assert Recipe(name="a", activation="per_tensor_affine").has_zero_points
    assert not Recipe(name="s", activation="per_tensor_symmetric").has_zero_points
