"""On a Mac, Core ML is compared with the evaluator when asked; another class stands for Core ML here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from arbex.cli import invoke
from export.bundle_writer import record_files
from runtimes import Prediction, open_bundle
from runtimes.coreml_runtime import EVALUATOR_PACKAGES, CoreMlEvaluator
from runtimes.golden import NAME as GOLDEN
from runtimes.golden import pack_golden
from runtimes.manifest import NAME
from runtimes.outcomes import ArtifactReport
from runtimes.registry import FORMATS
from runtimes.verification import verify_bundle


class Rounding(CoreMlEvaluator):
    """The same program, with answers that are a little closer to uniform: a device rounds in its own way."""

    name = "coreml"
    rounds_to_half = False

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Mixes a thousandth of the uniform distribution into the answers."""
        found = super().run_batch(images)
        corrected, primary = ((0.999 * part + 0.001 / part.shape[1]).astype(np.float32) for part in found[:2])
        return Prediction(corrected, primary, found.confidence)


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Core ML packages run as on a Mac."""
    monkeypatch.setitem(
        FORMATS, "mlpackage", replace(FORMATS["mlpackage"], runtime=Rounding, evaluator=CoreMlEvaluator)
    )


def int8_row(folder: Path, *, evaluate: bool) -> ArtifactReport:
    """Returns the report of the INT8 package; the float32 one is held to 1e-5, which no device keeps."""
    return next(
        row for row in verify_bundle(open_bundle(folder), evaluate=evaluate).artifacts if row.precision == "int8"
    )


@pytest.mark.usefixtures("on_a_mac")
def test_the_divergence_from_the_evaluator_is_told(bundles: Path) -> None:
    alone, beside = (int8_row(bundles / "iphone", evaluate=evaluate) for evaluate in (False, True))
    assert alone.passed
    assert alone.evaluator_kl is None
    assert alone.program_kl is None  # what Core ML rounds is not known
    assert beside.passed
    assert beside.runtime == "coreml"
    assert beside.evaluator_kl is not None
    assert 1e-8 < beside.evaluator_kl < 1e-3
    assert beside.program_kl is not None
    assert beside.program_kl < 1e-4
    assert beside.remarks == (
        f"The answers of coreml are {beside.evaluator_kl:.1e} nats (mean KL) from the evaluator's.",
    )


@pytest.mark.usefixtures("on_a_mac")
def test_the_evaluator_finds_what_the_rounding_of_a_device_hides(bundles: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundles / "iphone", tmp_path / "iphone"))
    bundle = open_bundle(folder)
    golden = bundle.golden()
    name = next(artifact.name for artifact in bundle.manifest.artifacts if artifact.precision == "int8")
    before = golden.recorded[name]
    moved = before._replace(confidence=np.clip(before.confidence + 0.01, 0, 1))
    (folder / GOLDEN).write_bytes(pack_golden(replace(golden, recorded={**golden.recorded, name: moved})))
    (folder / NAME).unlink()
    manifest = replace(bundle.manifest, files=record_files(folder))
    (folder / NAME).write_text(manifest.dump(), encoding="utf-8")
    assert int8_row(folder, evaluate=False).passed
    row = int8_row(folder, evaluate=True)
    assert not row.passed
    assert "to its own answers at export exceeds" in row.why


def test_elsewhere_the_evaluator_runs_anyway(bundles: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert FORMATS["mlpackage"].evaluator is None
    assert invoke(["verify", str(bundles / "iphone"), "--evaluator"], "arbex") == 0
    shown = capfd.readouterr()
    assert "coreml-evaluator" in shown.out
    assert "from the evaluator's" not in shown.out
    assert "--evaluator changes nothing here" in shown.err


def test_an_evaluator_that_cannot_run_is_refused_and_no_row_is_left_out(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = replace(EVALUATOR_PACKAGES[-1], module="no_such_module")
    monkeypatch.setattr("export.verification.EVALUATOR_PACKAGES", (*EVALUATOR_PACKAGES[:-1], lost))
    assert invoke(["verify", str(bundles / "iphone"), "--evaluator"], "arbex") == 3
    assert "evaluating Core ML packages needs it" in capfd.readouterr().err
