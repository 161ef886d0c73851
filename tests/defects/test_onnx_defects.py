"""Golden vectors alone find mistakes in an ONNX file whose manifest was written anew, as if the file were intact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.defects.onnx_defects import DEFECTS, inject
from tests.defects.sealing import verified

pytestmark = pytest.mark.lab

FILES = ("cpu/fp32", "cpu/int8", "jetson/fp16", "jetson/int8")
"""Targets and precisions of the files. Those for the Jetson compute in float16 wherever they do not in integers."""

WITHOUT_PLACE = {("cpu/fp32", "a zero point off by one"), ("jetson/fp16", "a zero point off by one")}
"""Defects that a file cannot have."""

WITHOUT_EFFECT = {("cpu/int8", "an activation replaced")}
"""Defects that change no answer: the zero point of the next quantization cuts off whatever is below zero."""

UNSEEN = {("jetson/fp16", "head in float16"), ("jetson/int8", "head in float16")}
"""Defects that are not found: these files are compared with everything in float32, the head included."""


@pytest.mark.parametrize("file", FILES)
def test_an_intact_file_passes(trained_bundle: Callable[[str], Path], file: str, tmp_path: Path) -> None:
    target, precision = file.split("/")
    row = verified(trained_bundle(target), precision, tmp_path)
    assert row.passed, row.why


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("file", FILES)
def test_a_defect_is_found(trained_bundle: Callable[[str], Path], file: str, name: str, tmp_path: Path) -> None:
    if (file, name) in WITHOUT_PLACE | WITHOUT_EFFECT:
        pytest.skip("this file cannot have it, or nothing changes")

    def spoil(artifact: Path) -> None:
        assert inject(artifact, name)

    target, precision = file.split("/")
    row = verified(trained_bundle(target), precision, tmp_path, spoil)
    assert row.executed
    assert row.passed == ((file, name) in UNSEEN), f"{name}: {row.why or 'not found'}"
