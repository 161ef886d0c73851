"""Golden vectors alone find mistakes in an ONNX file whose manifest was written anew, as if the file were intact."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from export.bundle_writer import record_files
from runtimes import open_bundle
from runtimes.manifest import NAME
from runtimes.verification import ArtifactReport, verify_bundle
from tests.defects.onnx_defects import DEFECTS, inject

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


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_intact_file_passes(bundles: Path, precision: str, tmp_path: Path) -> None:
    row = verified(bundles / "cpu", precision, "", tmp_path)
    assert row.passed, row.why


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_defect_is_found(bundles: Path, precision: str, name: str, tmp_path: Path) -> None:
    if (precision, name) in WITHOUT_PLACE | WITHOUT_EFFECT:
        pytest.skip("this file cannot have it, or nothing changes")
    row = verified(bundles / "cpu", precision, name, tmp_path)
    assert row.executed
    assert not row.passed, f"{name} was not found"
