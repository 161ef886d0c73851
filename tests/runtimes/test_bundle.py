"""Opening bundles: altered, missing and unlisted files are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arbex.errors import BackendError, BundleError, InputError, UnsupportedError
from arbex.spec import EXPRESSIONS, digest_file
from runtimes import open_bundle
from runtimes.manifest import Manifest


@pytest.fixture
def cpu(bundles: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundles / "cpu", tmp_path / "cpu"))


def test_a_bundle_knows_what_it_is(cpu: Path, run: Path) -> None:
    bundle = open_bundle(cpu)
    assert bundle.labels == EXPRESSIONS
    assert bundle.side == 64
    assert bundle.manifest.provenance.checkpoint == digest_file(run / "best.safetensors")
    assert bundle.manifest.provenance.calibration is not None
    assert bundle.manifest.provenance.calibration.images == 32
    value = json.loads((cpu / "manifest.json").read_text())
    assert value["input"] == {"name": "image", "dtype": "uint8", "layout": "NHWC", "shape": ["batch", 64, 64, 3]}
    assert [o["name"] for o in value["outputs"]] == ["corrected", "primary", "confidence"]
    assert json.loads(Manifest.from_json(value).dump()) == value
    for name in ("LICENSES", "README.md", "golden.npz"):
        assert name in value["files"]


def test_golden_vectors_are_what_the_artifacts_answer(cpu: Path) -> None:
    bundle = open_bundle(cpu)
    golden = bundle.golden()
    assert golden.images.dtype == np.uint8
    assert golden.images.shape[1:] == (64, 64, 3)
    with bundle.open("fp32") as runtime:
        answer = runtime.run(golden.images)
    for mine, its in zip(answer, golden.expected, strict=True):
        assert np.abs(mine - its).max() <= 1e-5


@pytest.mark.parametrize("name", ["artifacts/model.fp32.onnx", "golden.npz", "README.md"])
def test_an_altered_byte_is_noticed(cpu: Path, name: str) -> None:
    content = bytearray((cpu / name).read_bytes())
    content[len(content) // 2] ^= 1
    (cpu / name).write_bytes(content)
    with pytest.raises(BundleError, match="altered or damaged"):
        open_bundle(cpu)


def test_a_missing_and_an_unlisted_file_are_noticed(cpu: Path) -> None:
    (cpu / "extra.txt").write_text("?")
    with pytest.raises(BundleError, match="extra.txt, which the manifest does not list"):
        open_bundle(cpu)
    (cpu / "extra.txt").unlink()
    (cpu / "LICENSES").unlink()
    with pytest.raises(BundleError, match="lacks LICENSES"):
        open_bundle(cpu)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_a_path_out_of_the_bundle_is_refused(cpu: Path, name: str) -> None:
    value = json.loads((cpu / "manifest.json").read_text())
    value["files"][name] = {"size": 1, "sha256": "0" * 64}
    (cpu / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(BundleError, match="outside the bundle"):
        open_bundle(cpu)


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json", '{"schema": 99}'])
def test_a_damaged_manifest_is_one_paragraph(cpu: Path, content: str) -> None:
    (cpu / "manifest.json").write_text(content)
    with pytest.raises(BundleError, match="manifest") as told:
        open_bundle(cpu)
    assert "\n" not in str(told.value)


def test_a_pickle_among_the_golden_vectors_is_not_run(cpu: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "written"), "w"))  # type: ignore[return-value]

    arrays = dict(np.load(cpu / "golden.npz"))
    np.savez(cpu / "golden.npz", **{**arrays, "image": np.array([Payload()], dtype=object)})
    value = json.loads((cpu / "manifest.json").read_text())
    file = cpu / "golden.npz"
    value["files"]["golden.npz"] = {"size": file.stat().st_size, "sha256": digest_file(file)}
    (cpu / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(BundleError, match="golden vectors"):
        open_bundle(cpu).golden()
    assert not (tmp_path / "written").exists()


def test_the_folder_above_names_its_bundles(bundles: Path) -> None:
    with pytest.raises(BundleError, match="android, cpu, iphone, jetson, rtx"):
        open_bundle(bundles)


def test_a_missing_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_bundle(tmp_path / "nowhere")


def test_an_unknown_artifact_names_those_there_are(cpu: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"model\.fp32\.onnx, model\.int8\.onnx"):
        open_bundle(cpu).open("fp64")


def test_what_runs_elsewhere_only_says_so(bundles: Path) -> None:
    rtx = open_bundle(bundles / "rtx")
    with pytest.raises(BackendError, match="runs only on an NVIDIA RTX GPU"):
        rtx.open("model.fp32.rtx.engine")
    engines = tuple(a for a in rtx.manifest.artifacts if a.format == "rtx-engine")
    with pytest.raises(UnsupportedError, match="No artifact of .* runs on this machine"):
        replace(rtx, manifest=replace(rtx.manifest, artifacts=engines)).open()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((1, 3, 64, 64), np.uint8),
    ],
)
def test_images_of_another_kind_are_refused(cpu: Path, images: np.ndarray) -> None:
    with open_bundle(cpu).open() as runtime, pytest.raises(InputError, match=r"Allowed: uint8 \[B, 64, 64, 3\]"):
        runtime.run(images)
