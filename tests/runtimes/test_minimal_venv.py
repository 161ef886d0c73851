"""A device installs NumPy, click, Pillow and one runtime, but not torch."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.golden_images import drawn_faces

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(("extra", "target"), [("onnxruntime", "cpu"), ("litert", "android")])
def test_run_needs_only_one_runtime(extra: str, target: str, bundles: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{ROOT}[{extra}]"],
        check=True,
        cwd=tmp_path,
    )
    Image.new("RGB", (90, 90), (200, 160, 130)).save(tmp_path / "face.png")

    def run(*arguments: str) -> str:
        command = [str(python), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    answers = json.loads(run("-m", "arbex", "run", str(bundles / target), "face.png", "--json"))
    assert len(answers) == 1
    assert sum(answers[0]["corrected"].values()) == pytest.approx(1, abs=1e-4)
    assert "torch" not in run("-m", "pip", "list")
    verified = json.loads(run("-m", "arbex", "verify", str(bundles / target), "--json"))
    assert verified["passed"]
    code = "import runtimes, sys; print({m.split('.')[0] for m in sys.modules} & {'torch', 'sklearn', 'onnx'})"
    assert run("-c", code).strip() == "set()"


ON_A_BOARD = """
import sys
import numpy
from tflite_runtime.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
run = interpreter.get_signature_runner()
answers = [run(image=image[None])["corrected"] for image in numpy.load("images.npy")]
numpy.save("answers.npy", numpy.concatenate(answers))
"""


def answers_of_builtin_kernels(file: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns LiteRT's answers without XNNPACK, which tflite-runtime 2.14 does not use for int8."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    builtin = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(file), experimental_op_resolver_type=builtin)
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    return np.concatenate([run(image=image[None])["corrected"] for image in images])


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for this Python")
def test_boards_with_tflite_runtime_run_the_same_files(bundles: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", f"{ROOT}[tflite-runtime]", "tflite-runtime==2.14.0"]
    subprocess.run(command, check=True, cwd=tmp_path)
    installed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "tflite-runtime 2.14.0" in " ".join(installed.split())
    assert "ai-edge-litert" not in installed
    command = [str(python), "-m", "arbex", "verify", str(bundles / "android"), "--json"]
    verified = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout)
    full, quantized = verified["bundles"][0]["artifacts"]
    assert (full["precision"], quantized["precision"]) == ("fp32", "int8")
    assert full["executed"]
    assert full["max_abs_error"] < 1e-5
    assert quantized["executed"]
    assert quantized["runtime"] == "tflite-runtime"  # not held to the answers of another runtime
    assert quantized["mean_kl"] < 1e-3
    assert quantized["passed"]
    file = bundles / "android/artifacts/model.int8.tflite"
    images = drawn_faces(64)[:16]
    np.save(tmp_path / "images.npy", images)
    subprocess.run([python, "-c", ON_A_BOARD, file], check=True, cwd=tmp_path)
    theirs, ours = np.load(tmp_path / "answers.npy"), answers_of_builtin_kernels(file, images)
    assert np.median(np.abs(theirs - ours).max(1)) < 1e-6
    assert (theirs * np.log(theirs / ours)).sum(1).mean() < 1e-5


@pytest.mark.slow
def test_tests_are_not_installed(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, ROOT], check=True
    )
    packages = {p.name for p in tmp_path.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert packages == {"arbex", "export", "quantize", "runtimes", "calibration"}
