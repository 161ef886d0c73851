"""Golden vectors alone find mistakes in an ONNX file whose manifest was written anew, as if the file were intact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.defects.onnx_defects import DEFECTS, inject
from tests.defects.outcomes import NO_EFFECT, NO_PLACE, NOT_FOUND, ONNX_FILES, outcome
from tests.defects.sealing import verified

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("file", ONNX_FILES)
def test_an_intact_file_passes(trained_bundle: Callable[[str], Path], file: str, tmp_path: Path) -> None:
    target, precision = file.split("/")
    row = verified(trained_bundle(target), precision, tmp_path)
    assert row.passed, row.why


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("file", ONNX_FILES)
def test_a_defect_is_found(trained_bundle: Callable[[str], Path], file: str, name: str, tmp_path: Path) -> None:
    wanted = outcome(file, name)
    if wanted in (NO_PLACE, NO_EFFECT):
        pytest.skip(f"this file has {wanted} for it")

    def spoil(artifact: Path) -> None:
        assert inject(artifact, name)

    target, precision = file.split("/")
    row = verified(trained_bundle(target), precision, tmp_path, spoil)
    assert row.executed
    assert row.passed == (wanted == NOT_FOUND), f"{name}: {row.why or 'not found'}"
