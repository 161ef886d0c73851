"""``arbex export`` and ``arbex calibrate`` refuse to overwrite foreign files; exports carry what a run was given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from arbex.checkpoint import BEST, Calibration, open_run, read_metadata, read_weights, write_weights
from arbex.cli import invoke
from tests.runtimes.miniature import write_miniature

INVOKE = """
import sys
from arbex.cli import invoke
code = invoke(sys.argv[1:], "arbex")
print(code, "torch" in sys.modules)
"""


def refusal(*arguments: str | Path) -> str:
    """Returns the error of a command that ends with 2 before torch is loaded."""
    command = [sys.executable, "-c", INVOKE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"], done
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    return error


@pytest.mark.parametrize(("out", "kept"), [("best.json", "best.safetensors"), ("config.json", "config.json")])
def test_calibrate_keeps_the_files_of_a_run(out: str, kept: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"schema": 1}')
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    said = refusal("calibrate", tmp_path, "--data", tmp_path, "--out", tmp_path / out)
    assert f"{tmp_path / kept} " in said
    assert "would be overwritten" in said
    assert (tmp_path / "config.json").read_text() == '{"schema": 1}'
    assert (tmp_path / "best.safetensors").read_bytes() == b"weights"
    assert len(list(tmp_path.iterdir())) == 2


def test_export_keeps_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "manifest.json").write_text('{"name": "a web app"}')
    said = refusal("export", "/nowhere", "--target", "android", "--target", "cpu", "--out", tmp_path)
    assert f"{tmp_path / 'cpu'} already holds something that is not a bundle" in said
    assert [file.name for file in tmp_path.rglob("*.json")] == ["manifest.json"]


def test_export_names_the_strange_file_in_a_bundle(tmp_path: Path) -> None:
    write_miniature(tmp_path / "cpu")
    (tmp_path / "cpu" / "notes.txt").write_text("mine")
    said = refusal("export", "/nowhere", "--target", "cpu", "--out", tmp_path)
    assert f"{tmp_path / 'cpu'} holds notes.txt, which does not belong to the bundle" in said
    assert (tmp_path / "cpu" / "notes.txt").read_text() == "mine"


def test_a_bundle_knows_below_which_confidence_its_answers_are_unsure(
    run: Path, faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    face = next((faces / "test").rglob("*.png"))
    strict = tmp_path / "run"
    shutil.copytree(run, strict)
    calibration: Calibration = replace(open_run(run).calibration, threshold=0.9999)
    write_weights(strict / BEST, read_weights(run / BEST), read_metadata(run / BEST) | calibration.to_metadata())
    out = tmp_path / "bundles"
    assert invoke(["export", str(strict), "--target", "cpu", "--precision", "fp32", "--out", str(out)], "arbex") == 0
    capfd.readouterr()
    assert json.loads((out / "cpu" / "manifest.json").read_text())["confidence_threshold"] == 0.9999
    assert "Below 0.9999, take the answer as unsure." in (out / "cpu" / "README.md").read_text()
    assert invoke(["run", str(out / "cpu"), str(face), "--json"], "arbex") == 0
    (answer,) = json.loads(capfd.readouterr().out)
    assert answer["unsure"] is True
    assert sum(answer["corrected"].values()) == pytest.approx(1, abs=1e-5)
    assert invoke(["run", str(out / "cpu"), str(face)], "arbex") == 0
    assert f"{answer['label']} (unsure)" in capfd.readouterr().out
    assert invoke(["inspect", str(out / "cpu")], "arbex") == 0
    assert "unsure:      answers with a confidence below 1.000" in capfd.readouterr().out
    assert invoke(["inspect", str(strict)], "arbex") == 0
    shown = capfd.readouterr().out
    assert "calibrated: temperatures primary " in shown
    assert "unsure:     answers with a confidence below 1.000" in shown
