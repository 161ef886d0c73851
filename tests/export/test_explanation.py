"""The first operator at which an artifact parts from its program, on a network of a few operators."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from arbex.cli import invoke
from arbex.errors import BundleError
from calibration import TensorRange
from export.bundle_writer import record_files
from export.explanation import first_difference
from export.ranges_file import NAME as RANGES
from export.ranges_file import read_ranges
from runtimes import open_bundle
from runtimes.manifest import NAME
from tests.defects.onnx_defects import inject
from tests.programs import exported

IMAGE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """Two convolutions and a linear layer, with the three outputs of a bundle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.relu(self.second(torch.relu(self.first(image)))).mean((2, 3))
        primary = self.head(x).softmax(1)
        corrected = (2 * primary).softmax(1)
        return corrected, primary, corrected.amax(1)


class Artifact(Interpreter):
    """Runs a program and keeps what it computes, channels last, but without the values before activations."""

    def __init__(self, program: GraphModule) -> None:
        super().__init__(program)
        self.values: dict[str, np.ndarray] = {}

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor) and not any("relu" in str(user.target) for user in n.users):
            value = result.permute(0, 2, 3, 1) if result.ndim == 4 else result
            self.values[f"value {len(self.values)}"] = value.numpy()
        return result


@pytest.fixture
def program() -> GraphModule:
    return exported(Network(), IMAGE.repeat(2, 1, 1, 1))


@torch.inference_mode()
def values_of(program: GraphModule, image: Tensor = IMAGE) -> dict[str, np.ndarray]:
    """Returns what an artifact of a program computes, its outputs under their names."""
    artifact = Artifact(program)
    outputs = artifact.run(image)
    names = ("corrected", "primary", "confidence")
    return artifact.values | {name: output.numpy() for name, output in zip(names, outputs, strict=True)}


def spoiled(layer: str, parameter: str = "weight") -> GraphModule:
    """Returns the program of a network in which one channel of a layer is wrong."""
    network = Network()
    with torch.no_grad():
        getattr(getattr(network, layer), parameter)[2] *= 1.05
    return exported(network, IMAGE.repeat(2, 1, 1, 1))


def test_an_intact_artifact_has_no_difference(program: GraphModule) -> None:
    assert first_difference(program, IMAGE, values_of(program), fused=True) is None


@pytest.mark.parametrize("layer", ["first", "second", "head"])
def test_a_layer_with_a_wrong_channel_is_named(program: GraphModule, layer: str) -> None:
    found = first_difference(program, IMAGE, values_of(spoiled(layer)), fused=True)
    assert found is not None
    assert found.module == layer
    assert "weights, scales or bias" in found.advice
    assert found.share == pytest.approx(1.0, abs=0.2)


def test_the_normalization_is_named(program: GraphModule) -> None:
    found = first_difference(program, IMAGE, values_of(program, IMAGE * 1.05))
    assert found is not None
    assert found.operator == "normalization"
    assert "mean, deviation and order of the channels" in found.advice


def test_an_output_under_a_wrong_name_is_named(program: GraphModule) -> None:
    values = values_of(program)
    values["corrected"] = values["primary"]
    found = first_difference(program, IMAGE, values, fused=True)
    assert found is not None
    assert (found.operator, found.kind, found.share) == ("corrected", "output", 1.0)
    assert "parts from its program at corrected" in str(found)


def failing(bundles: Path, run: Path, folder: Path, *, ranges: bool = True) -> Path:
    """Returns a bundle whose INT8 file has a filter of zeros, and a manifest that fits it."""
    copy = Path(shutil.copytree(bundles / "cpu", folder / "cpu"))
    manifest = open_bundle(copy).manifest
    assert inject(copy / "artifacts/model.int8.onnx", "a zeroed filter")
    (copy / NAME).unlink()
    if not ranges:
        (copy / RANGES).unlink()
    manifest = replace(
        manifest, provenance=replace(manifest.provenance, run=str(run.resolve())), files=record_files(copy)
    )
    (copy / NAME).write_text(manifest.dump(), encoding="utf-8")
    return copy


def test_verify_explains_a_failure(
    bundles: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = failing(bundles, run, tmp_path)
    assert invoke(["verify", str(bundle), "--explain", "--json"], "arbex") == 1
    (report,) = json.loads(capsys.readouterr().out)["bundles"]
    full, quantized = report["artifacts"]
    assert full["first_difference"] is None
    found = quantized["first_difference"]
    assert found["kind"] == "aten.conv2d.default"
    assert found["module"].startswith("encoder.")
    assert invoke(["verify", str(bundle), "--explain"], "arbex") == 1
    assert f"parts from its program at {found['operator']} ({found['module']})" in capsys.readouterr().out


def test_an_intact_file_beyond_a_limit_is_said_to_compute_its_program(
    bundles: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["verify", str(bundles / "cpu"), "--data", str(faces), "--max-kl", "0", "--explain", "--json"]
    assert invoke(given, "arbex") == 1
    (report,) = json.loads(capsys.readouterr().out)["bundles"]
    quantized = report["artifacts"][1]
    assert quantized["outcome"] == "failed"
    assert quantized["first_difference"] is None
    assert "its operators compute what the program computes" in quantized["why"]


@pytest.mark.parametrize("lost", ["run", "ranges"])
def test_what_an_explanation_lacks_is_among_the_reasons(
    bundles: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    bundle = failing(bundles, tmp_path / "nowhere" if lost == "run" else run, tmp_path, ranges=lost == "run")
    assert invoke(["verify", str(bundle), "--explain", "--json"], "arbex") == 1
    (report,) = json.loads(capsys.readouterr().out)["bundles"]
    full, quantized = report["artifacts"]
    assert full["why"] == ""
    assert "typical error" in quantized["why"]
    assert ("--reference RUN" if lost == "run" else f"holds no {RANGES}") in quantized["why"]


def test_ranges_of_earlier_bundles_are_read(tmp_path: Path) -> None:
    (tmp_path / RANGES).write_text('{"add": [-1.0, 2.0], "relu": [0, 4, 0.5, 1.25]}')
    assert read_ranges(tmp_path) == {"add": TensorRange(-1.0, 2.0), "relu": TensorRange(0.0, 4.0, (0.5, 1.25))}


def test_ranges_that_are_missing_or_damaged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"holds no {RANGES}"):
        read_ranges(tmp_path)
    (tmp_path / RANGES).write_text('{"add": [0.0]}')
    with pytest.raises(BundleError, match="damaged"):
        read_ranges(tmp_path)
