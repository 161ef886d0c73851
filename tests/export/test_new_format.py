"""A new format works with every command after the steps of the guide: two classes and two registrations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arbex.cli import invoke
from arbex.errors import UnsupportedError
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from export.registry import TARGETS, WRITERS, register_writer
from runtimes import open_bundle
from runtimes.registry import FORMATS, register_format
from tests.export.numpy_format import FORMAT, NumpyWriter

BACKBONE = "tests.export.architectures:pixel_means"


@pytest.fixture(scope="module")
def pixel_run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model on the means of 8 x 8 pixels, without the temperature, which the page of NumPy does not know."""
    out = tmp_path_factory.mktemp("runs") / "pixels"
    settings = override(
        PRESET_SETTINGS["custom"], ["epochs=1", "images_per_class=16", "batch_size=16", "calibrate=false"]
    )
    train(
        TrainRequest(
            data=str(faces),
            out=out,
            preset="custom",
            method="poster",
            settings=settings,
            image_size=64,
            backbone=BACKBONE,
        )
    )
    return out


@pytest.fixture(scope="module")
def bundle(pixel_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bundle of that run in the new format, which is registered only while this module's tests run."""
    register_format(FORMAT)
    register_writer(NumpyWriter())
    out = tmp_path_factory.mktemp("bundles")
    command = ["export", str(pixel_run), "--target", "notebook", "--backbone", BACKBONE, "--out", str(out)]
    assert invoke(command, "arbex") == 0
    yield out / "notebook"
    for table, name in ((FORMATS, "numpy"), (WRITERS, "numpy"), (TARGETS, "notebook")):
        del table[name]


def answer_of(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> Any:
    capfd.readouterr()
    assert invoke([*arguments, "--json"], "arbex") == 0
    return json.loads(capfd.readouterr().out)


def test_export_writes_it_and_its_page_says_how_to_use_it(bundle: Path) -> None:
    page = (bundle / "README.md").read_text()
    assert "# Facial expressions on: any notebook with NumPy" in page
    assert "Multiply `artifacts/model.fp32.npz` by the means of 8 x 8 blocks of 64 x 64 pixels." in page
    assert open_bundle(bundle).manifest.provenance.tools["numpy"] == np.__version__


def test_verify_holds_it_against_pytorch(bundle: Path, faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = answer_of(["verify", str(bundle), "--data", str(faces), "--backbone", BACKBONE], capfd)
    (row,) = told["bundles"][0]["artifacts"]
    assert (row["runtime"], row["executed"], row["passed"]) == ("numpy", True, True)
    assert 0 < row["max_abs_error"] <= 1e-5


def test_verify_finds_other_weights(bundle: Path, tmp_path: Path) -> None:
    file = bundle / "artifacts/model.fp32.npz"
    stored = dict(np.load(file))
    np.savez(tmp_path / "other.npz", **{**stored, "bias": stored["bias"] + np.arange(7, dtype=np.float32)})
    whole = file.read_bytes()
    file.write_bytes((tmp_path / "other.npz").read_bytes())
    try:
        assert invoke(["verify", str(bundle)], "arbex") == 1
    finally:
        file.write_bytes(whole)


def test_run_answers_with_it(bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (90, 90), (200, 160, 130)).save(tmp_path / "face.png")
    (face,) = answer_of(["run", str(bundle), str(tmp_path / "face.png")], capfd)
    assert sum(face["corrected"].values()) == pytest.approx(1, abs=1e-5)


def test_bench_times_it(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (row,) = answer_of(["bench", str(bundle)], capfd)
    assert row["runtime"] == "numpy"
    assert 0 < row["p50_ms"] < 100


@pytest.mark.slow
def test_inspect_and_doctor_know_it(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["inspect", str(bundle)], "arbex") == 0
    assert "model.fp32.npz" in capfd.readouterr().out
    backends = answer_of(["doctor"], capfd)["backends"]
    (row,) = (b for b in backends if b["gives"] == "running and writing .npz files")
    assert row["works"]


def test_a_second_registration_is_refused(bundle: Path) -> None:
    with pytest.raises(UnsupportedError, match="already registered"):
        register_format(FORMAT)
    with pytest.raises(UnsupportedError, match="already has a writer"):
        register_writer(NumpyWriter())
