"""ExecuTorch programs: from the same calibrated program as all formats, and as close to it as LiteRT's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arbex.checkpoint import load_run
from arbex.cli import invoke
from arbex.errors import BackendError
from arbex.reference import answer
from export.golden_images import drawn_faces
from runtimes import Prediction, open_bundle
from runtimes.comparison import compare
from runtimes.executorch_runtime import ExecuTorch
from runtimes.verification import verify_bundle

IMAGES = drawn_faces(64)


def test_both_precisions_meet_the_limits_of_litert(executorch_bundle: Path) -> None:
    full, quantized = verify_bundle(open_bundle(executorch_bundle)).artifacts
    assert (full.runtime, full.executed, full.passed) == ("executorch", True, True)
    assert full.parity is not None
    assert full.parity.max_abs_error <= 1e-5
    assert (quantized.executed, quantized.passed) == (True, True)
    assert quantized.parity is not None
    assert quantized.parity.mean_kl <= 5e-3


def test_int8_agrees_with_pytorch(executorch_bundle: Path, run: Path) -> None:
    expected = Prediction(*answer(load_run(run), IMAGES))
    with open_bundle(executorch_bundle).open("int8") as runtime:
        found = compare(expected, runtime.run_all(IMAGES))
    assert found.mean_kl <= 5e-3
    assert found.top1_agreement >= 0.98


def test_int8_is_the_program_that_litert_runs(executorch_bundle: Path, bundles: Path) -> None:
    """Both run XNNPACK's kernels on the same program, calibrated on the same images."""
    with open_bundle(executorch_bundle).open("int8") as ours, open_bundle(bundles / "android").open("int8") as litert:
        found = compare(litert.run_all(IMAGES), ours.run_all(IMAGES))
    assert found.mean_kl < 1e-5
    assert found.top1_agreement == 1.0


def test_its_layers_compute_in_integers(executorch_bundle: Path) -> None:
    artifact = open_bundle(executorch_bundle).find("int8")
    assert artifact.work is not None
    assert 0.9 < artifact.work.int8_share < 1
    assert {island.modules[0].split(".")[0] for island in artifact.work.islands if "head" in island.reason} == {"head"}


def test_weights_are_stored_in_8_bits(executorch_bundle: Path) -> None:
    opened = open_bundle(executorch_bundle)
    sizes = [opened.size(artifact) for artifact in opened.manifest.artifacts]
    assert sizes[1] < 0.45 * sizes[0]


def test_the_page_says_how_to_use_it(executorch_bundle: Path) -> None:
    page = (executorch_bundle / "README.md").read_text()
    assert 'Module.load("artifacts/model.int8.pte")' in page
    assert "longArrayOf(1, 64, 64, 3)" in page


def test_a_runtime_with_another_number_of_threads_waits_its_turn(executorch_bundle: Path) -> None:
    path = open_bundle(executorch_bundle).file(open_bundle(executorch_bundle).find("int8"))
    with ExecuTorch(path, 64, threads=1) as one:
        with pytest.raises(BackendError, match="with 1 threads.*Close that runtime first"):
            ExecuTorch(path, 64, threads=2)
        with ExecuTorch(path, 64) as another:
            assert np.array_equal(one.run(IMAGES[:2]).corrected, another.run(IMAGES[:2]).corrected)
    with ExecuTorch(path, 64, threads=2) as two:
        assert np.isfinite(two.run(IMAGES[:1]).corrected).all()


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_file_that_was_cut_is_refused(executorch_bundle: Path, tmp_path: Path, kept: float) -> None:
    content = open_bundle(executorch_bundle).file(open_bundle(executorch_bundle).find("int8")).read_bytes()
    (tmp_path / "model.pte").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(BackendError, match="executorch cannot load"):
        ExecuTorch(tmp_path / "model.pte", 64)


def test_bench_and_inspect_show_it(executorch_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bench", str(executorch_bundle), "--json"], "arbex") == 0
    rows = json.loads(capfd.readouterr().out)
    assert [(row["runtime"], row["precision"]) for row in rows] == [("executorch", "fp32"), ("executorch", "int8")]
    assert invoke(["inspect", str(executorch_bundle)], "arbex") == 0
    assert "of multiply-adds in int8" in capfd.readouterr().out
