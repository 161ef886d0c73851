"""Golden vectors alone find mistakes in an ONNX file whose manifest was written anew, as if the file were intact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from arbex.errors import BackendError
from runtimes import open_bundle
from runtimes.emulation.processors import PROCESSORS
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.registry import FORMATS, default_environment
from runtimes.verification import verify_bundle
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


class Unguarded(OnnxRuntime):
    """ONNX Runtime as others open it, without the option for exact sums."""

    def load(self) -> None:
        """Builds a session with the default options."""
        self.session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])


def test_a_saturating_kernel_is_found(trained_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    haswell = PROCESSORS["haswell"]
    try:
        default_environment().check(haswell)
    except BackendError as error:
        pytest.skip(str(error))
    bundle = open_bundle(trained_bundle("cpu"))
    exact = {row.title: row for row in verify_bundle(bundle, processors=[haswell]).artifacts}
    assert exact["model.int8.onnx on haswell"].passed
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], runtime=Unguarded))
    rows = {row.title: row for row in verify_bundle(bundle, processors=[haswell]).artifacts}
    assert not rows["model.int8.onnx on haswell"].passed
    assert rows["model.fp32.onnx on haswell"].passed
