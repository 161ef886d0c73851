"""A device installs NumPy, click, Pillow and one runtime: nothing of torch."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(("extra", "target"), [("onnxruntime", "cpu"), ("litert", "android")])
def test_run_needs_only_one_runtime(extra: str, target: str, bundles: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{ROOT}[{extra}]"],
        check=True,
        cwd=tmp_path,
    )
    Image.new("RGB", (90, 90), (200, 160, 130)).save(tmp_path / "face.png")

    def run(*arguments: str) -> str:
        command = [python, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    answers = json.loads(run("-m", "arbex", "run", str(bundles / target), "face.png", "--json"))
    assert len(answers) == 1
    assert sum(answers[0]["corrected"].values()) == pytest.approx(1, abs=1e-4)
    assert "torch" not in run("-m", "pip", "list")
    verified = json.loads(run("-m", "arbex", "verify", str(bundles / target), "--json"))
    assert verified["passed"]
    code = "import runtimes, sys; print({m.split('.')[0] for m in sys.modules} & {'torch', 'sklearn', 'onnx'})"
    assert run("-c", code).strip() == "set()"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for this Python")
def test_boards_with_tflite_runtime_run_the_same_files(bundles: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", f"{ROOT}[tflite-runtime]", "tflite-runtime==2.14.0"]
    subprocess.run(command, check=True, cwd=tmp_path)
    installed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "tflite-runtime 2.14.0" in " ".join(installed.split())
    assert "ai-edge-litert" not in installed
    command = [python, "-m", "arbex", "verify", str(bundles / "android"), "--json"]
    verified = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout)
    full, quantized = verified["bundles"][0]["artifacts"]
    assert (full["precision"], quantized["precision"]) == ("fp32", "int8")
    assert full["executed"]
    assert full["max_abs_error"] < 1e-5
    assert quantized["executed"]
    assert quantized["mean_kl"] < 1e-3
    assert quantized["passed"]


def test_tests_are_not_installed(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, ROOT], check=True
    )
    packages = {p.name for p in tmp_path.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert packages == {"arbex", "export", "quantize", "runtimes", "calibration"}
