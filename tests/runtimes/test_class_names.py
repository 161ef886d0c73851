"""Artifacts hold the names of their classes, which a manifest cannot contradict."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from arbex.errors import BackendError, BundleError
from arbex.spec import EXPRESSIONS
from runtimes import open_bundle
from runtimes.class_names import KEY, append_labels, appended_labels, from_text, to_text
from runtimes.manifest import NAME
from runtimes.verification import verify_bundle
from tests.runtimes.miniature import ARTIFACT, LABELS, seal, write_miniature


@pytest.mark.parametrize("target", ["cpu", "jetson", "android", "iphone"])
def test_artifacts_hold_their_class_names(bundles: Path, target: str) -> None:
    bundle = open_bundle(bundles / target)
    for artifact in bundle.manifest.artifacts:
        with bundle.open(artifact.name) as runtime:
            assert runtime.labels == EXPRESSIONS


def test_files_of_pytorch_and_core_ai_hold_them_too(executorch_bundle: Path, coreai_bundle: Path) -> None:
    for folder in (executorch_bundle, coreai_bundle):
        with open_bundle(folder).open() as runtime:
            assert runtime.labels == EXPRESSIONS


@pytest.mark.parametrize("target", ["cpu", "android", "iphone"])
def test_a_manifest_with_rotated_labels_is_refused(bundles: Path, target: str) -> None:
    intact = open_bundle(bundles / target)
    rotated = replace(intact, manifest=replace(intact.manifest, labels=(*EXPRESSIONS[1:], EXPRESSIONS[0])))
    with pytest.raises(BundleError, match="for the classes neutral, anger, .*manifest names anger, disgust"):
        rotated.open()
    for row in verify_bundle(rotated).artifacts:
        assert not row.passed
        assert "answers for the classes" in row.why


def test_an_artifact_without_class_names_is_taken_at_its_manifest_s_word(tmp_path: Path) -> None:
    with open_bundle(write_miniature(tmp_path)).open() as runtime:
        assert runtime.labels is None


def test_class_names_that_are_no_list_are_refused(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path)
    model = onnx.load(folder / ARTIFACT)
    for text, allowed in ((to_text(LABELS), True), ("anger, fear, neutral", False), ('{"anger": 0}', False)):
        onnx.helper.set_model_props(model, {KEY: text})
        onnx.save(model, folder / ARTIFACT)
        (folder / NAME).unlink()
        seal(folder)
        assert verify_bundle(open_bundle(folder)).passed == allowed
    with pytest.raises(BackendError, match="Allowed: a JSON array of class names"):
        open_bundle(folder).open()


def test_names_in_any_script_come_back() -> None:
    labels = ("怒り", "joie", 'with "quotes"', "a,b")
    assert from_text(to_text(labels)) == labels


def test_names_after_a_tflite_model_leave_the_model_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"\x1c\0\0\0TFL3 and so on")
    assert appended_labels(file) is None
    append_labels(file, ("怒り", "joie"))
    assert appended_labels(file) == ("怒り", "joie")
    assert file.read_bytes().startswith(b"\x1c\0\0\0TFL3 and so on")
    with zipfile.ZipFile(file) as archive:
        assert archive.read("labels.txt").decode() == "怒り\njoie\n"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"joie", b"j\xffie"))
    with pytest.raises(BackendError, match="class names in .* cannot be read"):
        appended_labels(file)


def test_names_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", "a\n" * 1_000_000)
    assert file.stat().st_size < 10_000
    with pytest.raises(BackendError, match="more than 1000000 bytes"):
        appended_labels(file)
