"""Golden vectors alone find mistakes in an ONNX file whose manifest was written anew, as if the file were intact."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from export.bundle_writer import record_files
from export.pipeline import export
from export.plan import ExportRequest
from runtimes import open_bundle
from runtimes.manifest import NAME
from runtimes.outcomes import ArtifactReport
from runtimes.verification import verify_bundle
from tests.conftest import made_once
from tests.defects.onnx_defects import DEFECTS, inject

pytestmark = pytest.mark.lab

WITHOUT_PLACE = {("fp32", "a zero point off by one")}
"""Defects that a file cannot have."""

WITHOUT_EFFECT = {("int8", "an activation replaced")}
"""Defects that change no answer: the zero point of the next quantization cuts off whatever is below zero."""


def verified(bundle: Path, precision: str, name: str, folder: Path) -> ArtifactReport:
    """Returns the report of a file with a defect, or of the intact one without a name."""
    intact = open_bundle(bundle)
    artifact = intact.find(f"model.{precision}.onnx")
    copy = Path(shutil.copytree(bundle, folder / "cpu"))
    if name:
        (copy / artifact.file).unlink()
        assert inject(intact.file(artifact), copy / artifact.file, name)
    manifest = replace(intact.manifest, artifacts=(artifact,), files=record_files(copy))
    (copy / NAME).write_text(manifest.dump(), encoding="utf-8")
    (row,) = verify_bundle(open_bundle(copy)).artifacts
    return row


@pytest.fixture(scope="module")
def trained_bundle(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a model that was trained for long enough that all of its layers matter."""

    def make(out: Path) -> None:
        settings = override(PRESET_SETTINGS["tiny"], ["epochs=40", "images_per_class=21", "batch_size=21"])
        request = TrainRequest(data=str(faces), out=out / "run", preset="tiny", method="arbex", settings=settings)
        train(request)
        export(ExportRequest(run=out / "run", targets=["cpu"], out=out, precisions=("fp32", "int8"), min_agreement=0.0))

    return made_once(tmp_path_factory, "trained", make) / "cpu"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_intact_file_passes(trained_bundle: Path, precision: str, tmp_path: Path) -> None:
    row = verified(trained_bundle, precision, "", tmp_path)
    assert row.passed, row.why


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_defect_is_found(trained_bundle: Path, precision: str, name: str, tmp_path: Path) -> None:
    if (precision, name) in WITHOUT_PLACE | WITHOUT_EFFECT:
        pytest.skip("this file cannot have it, or nothing changes")
    row = verified(trained_bundle, precision, name, tmp_path)
    assert row.executed
    assert not row.passed, f"{name} was not found"
