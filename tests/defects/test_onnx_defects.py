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

FILES = ("cpu/fp32", "cpu/int8", "jetson/fp16", "jetson/int8")
"""Targets and precisions of the files. Those for the Jetson compute in float16 wherever they do not in integers."""

WITHOUT_PLACE = {("cpu/fp32", "a zero point off by one"), ("jetson/fp16", "a zero point off by one")}
"""Defects that a file cannot have."""

WITHOUT_EFFECT = {("cpu/int8", "an activation replaced")}
"""Defects that change no answer: the zero point of the next quantization cuts off whatever is below zero."""

UNSEEN = {("jetson/fp16", "head in float16"), ("jetson/int8", "head in float16")}
"""Defects that are not found: these files are compared with everything in float32, the head included."""


def verified(bundles: Path, file: str, name: str, folder: Path) -> ArtifactReport:
    """Returns the report of a file with a defect, or of the intact one without a name."""
    target, precision = file.split("/")
    intact = open_bundle(bundles / target)
    artifact = intact.find(f"model.{precision}.onnx")
    copy = Path(shutil.copytree(bundles / target, folder / target))
    if name:
        (copy / artifact.file).unlink()
        assert inject(intact.file(artifact), copy / artifact.file, name)
    manifest = replace(intact.manifest, artifacts=(artifact,), files=record_files(copy))
    (copy / NAME).write_text(manifest.dump(), encoding="utf-8")
    (row,) = verify_bundle(open_bundle(copy)).artifacts
    return row


@pytest.fixture(scope="module")
def trained_bundles(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of a model that was trained for long enough that all of its layers matter."""

    def make(out: Path) -> None:
        settings = override(PRESET_SETTINGS["tiny"], ["epochs=40", "images_per_class=21", "batch_size=21"])
        request = TrainRequest(data=str(faces), out=out / "run", preset="tiny", method="arbex", settings=settings)
        train(request)
        for target, precisions in (("cpu", ("fp32", "int8")), ("jetson", ("fp16", "int8"))):
            export(ExportRequest(run=out / "run", targets=[target], out=out, precisions=precisions, min_agreement=0.0))

    return made_once(tmp_path_factory, "trained", make)


@pytest.mark.parametrize("file", FILES)
def test_an_intact_file_passes(trained_bundles: Path, file: str, tmp_path: Path) -> None:
    row = verified(trained_bundles, file, "", tmp_path)
    assert row.passed, row.why


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("file", FILES)
def test_a_defect_is_found(trained_bundles: Path, file: str, name: str, tmp_path: Path) -> None:
    if (file, name) in WITHOUT_PLACE | WITHOUT_EFFECT:
        pytest.skip("this file cannot have it, or nothing changes")
    row = verified(trained_bundles, file, name, tmp_path)
    assert row.executed
    assert row.passed == ((file, name) in UNSEEN), f"{name}: {row.why or 'not found'}"
