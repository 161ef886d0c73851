"""``verify`` finds what is wrong, and says what it could not run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from arbex.checkpoint import load_run
from arbex.cli import invoke
from arbex.errors import BundleError, InputError
from arbex.reference import answer
from arbex.spec import digest_file
from runtimes import Prediction, open_bundle
from runtimes.bundle import Bundle
from runtimes.comparison_images import ComparisonImages
from runtimes.manifest import Artifact
from runtimes.outcomes import ArtifactReport, Verification
from runtimes.reports import check_suffix, write_report
from runtimes.verification import verify_bundle, verify_executed
from tests.limits import FEW_OPTIONS

EXECUTED = {"onnx": "onnxruntime", "tflite": "litert", "mlpackage": "coreml-evaluator"}


@pytest.mark.parametrize("target", ["jetson", "iphone", "android", "rtx", "cpu"])
def test_every_artifact_of_every_target_passes(bundles: Path, target: str) -> None:
    report = verify_bundle(open_bundle(bundles / target))
    assert report.passed, report
    assert {row.precision for row in report.artifacts} >= {"fp32", "int8"}
    for row in report.artifacts:
        assert row.executed == (row.format in EXECUTED)
        if row.executed:
            assert row.runtime == EXECUTED[row.format]
            assert row.parity is not None
            assert row.parity.samples == 64
        else:
            assert row.why


def test_float_artifacts_are_within_1e_5_of_pytorch_on_noise(bundles: Path, run: Path) -> None:
    model = load_run(run)
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    expected = Prediction(*answer(model, images))
    for target in ("cpu", "android", "iphone"):
        report = verify_bundle(open_bundle(bundles / target), [ComparisonImages(images=images, expected=expected)])
        row = next(a for a in report.artifacts if a.precision == "fp32")
        assert row.parity is not None
        assert row.parity.max_abs_error <= 1e-5


def test_archives_beside_their_bundles_are_left_out(
    bundles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A shell makes both of ``bundles/*``."""
    shutil.copytree(bundles / "cpu", tmp_path / "cpu")
    (tmp_path / "cpu.zip").write_bytes(b"the archive of the bundle")
    assert invoke(["verify", str(tmp_path / "cpu"), str(tmp_path / "cpu.zip")], "arbex") == 0
    assert "cpu.zip: the archive of " in capfd.readouterr().err
    assert invoke(["verify", str(tmp_path / "cpu.zip")], "arbex") == 2  # alone, it is none of the bundles


def test_a_run_in_the_place_of_a_bundle_is_to_be_exported_first(run: Path) -> None:
    with pytest.raises(BundleError, match="It is a run. Export it first: arbex export .*/run --target"):
        open_bundle(run)


def test_wrong_answers_fail(bundles: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundles / "cpu", tmp_path / "cpu"))
    arrays = dict(np.load(folder / "golden.npz"))
    arrays["corrected"] = np.roll(arrays["corrected"], 1, axis=1)
    np.savez(folder / "golden.npz", **arrays)
    value = json.loads((folder / "manifest.json").read_text())
    file = folder / "golden.npz"
    value["files"]["golden.npz"] = {"size": file.stat().st_size, "sha256": digest_file(file)}
    (folder / "manifest.json").write_text(json.dumps(value))
    report = verify_bundle(open_bundle(folder))
    assert not report.passed
    assert "exceeds" in report.artifacts[0].why


def test_a_core_ml_package_with_other_weights_fails(bundles: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundles / "iphone", tmp_path / "iphone"))
    value = json.loads((folder / "manifest.json").read_text())
    value["artifacts"][0]["content"]["weights_digest"] = "0" * 64
    value["artifacts"][1]["content"]["operations"]["linear"] = 1
    (folder / "manifest.json").write_text(json.dumps(value))
    report = verify_bundle(open_bundle(folder))
    assert "weights digest changed after the export" in report.artifacts[0].why
    assert "operations changed after the export" in report.artifacts[1].why


def test_a_file_that_bundles_share_runs_once(
    bundles: Path, faces: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def count(bundle: Bundle, artifact: Artifact, *others: Any) -> ArtifactReport:
        ran.append(f"{bundle.manifest.target}/{artifact.name}")
        return verify_executed(bundle, artifact, *others)

    monkeypatch.setattr("runtimes.verification.verify_executed", count)
    folders = [str(bundles / name) for name in ("jetson", "rtx", "cpu")]
    wanted = ["--data", str(faces), "--max-kl", "0.1", "--min-agreement", "0.5", *FEW_OPTIONS, "--json"]
    assert invoke(["verify", *folders, *wanted], "arbex") == 0
    assert ran == ["jetson/model.fp32.onnx", "jetson/model.int8.onnx", "cpu/model.int8.onnx"]
    results = json.loads(capfd.readouterr().out)["bundles"]
    assert results[1]["artifacts"][0]["max_abs_error"] == results[0]["artifacts"][0]["max_abs_error"]


def test_reports_for_people_and_for_ci(bundles: Path, tmp_path: Path) -> None:
    outcome = Verification(tuple(verify_bundle(open_bundle(bundles / name)) for name in ("cpu", "rtx")))
    for suffix in (".html", ".md", ".xml"):
        write_report(tmp_path / f"report{suffix}", outcome)
    suites = ElementTree.parse(tmp_path / "report.xml").getroot().findall("testsuite")
    assert [s.get("skipped") for s in suites] == ["0", "2"]
    assert "model.int8.onnx" in (tmp_path / "report.md").read_text()
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_a_report_of_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.html, \.md, \.xml"):
        check_suffix(tmp_path / "report.pdf")
    with pytest.raises(InputError, match="does not exist"):
        check_suffix(tmp_path / "nowhere" / "report.html")
