"""Core ML packages compute the calibrated program; they are evaluated here as they lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from arbex.checkpoint import load_run, open_run
from arbex.progress import SILENT
from arbex.spec import INPUT_NAME
from export.channel_equalization import equalize_channels
from export.gate import answers_of
from export.golden_images import drawn_faces
from export.int8_calibration import CalibrationRequest, calibrate_run
from export.trace import TracedModel, trace
from quantize.operators import HEAD
from quantize.program import quantize
from quantize.recipe import ACCELERATOR
from runtimes import open_bundle
from runtimes.base import Prediction, concatenate
from runtimes.comparison import compare
from runtimes.coreml_evaluator.program import Program
from runtimes.coreml_runtime import CoreMl, CoreMlEvaluator, prediction, runtime_on

PIXELS = drawn_faces(64)


@pytest.fixture(scope="module")
def traced(run: Path) -> TracedModel:
    return equalize_channels(trace(load_run(run)))


@pytest.fixture(scope="module")
def program(run: Path, faces: Path, traced: TracedModel) -> GraphModule:
    """The INT8 program that the bundles of the run were written from."""
    table, _ = calibrate_run(open_run(run), traced, CalibrationRequest(source=str(faces), samples=32), SILENT)
    return quantize(traced.program, table.ranges, ACCELERATOR)


def evaluated(package: Path, precision: str) -> Prediction:
    """Returns the answers of a package for the drawn faces."""
    loaded = Program.load(package, precision)
    return concatenate([prediction(loaded.run({INPUT_NAME: image})) for image in PIXELS])


class HalfInterpreter(Interpreter):
    """Runs a program whose values before the head are rounded to float16."""

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        in_head = any(HEAD in path.split(".") for path, _ in n.meta.get("nn_module_stack", {}).values())
        if in_head or not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        return value.half().float()


def half_answers(program: GraphModule, traced: TracedModel) -> Prediction:
    """Returns the answers of a program with values in float16 before the head."""
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (traced.preprocessing.mean, traced.preprocessing.std))
    images = (torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        outputs: tuple[Tensor, ...] = HalfInterpreter(program).run(images.half().float())
    return Prediction(*(x.numpy() for x in outputs))


def artifact(bundles: Path, precision: str) -> Path:
    bundle = open_bundle(bundles / "iphone")
    return bundle.file(bundle.find(precision))


def test_int8_in_float32_is_the_program(bundles: Path, program: GraphModule, traced: TracedModel) -> None:
    found = compare(answers_of(program, traced, PIXELS, half=True), evaluated(artifact(bundles, "int8"), "fp32"))
    assert found.mean_kl < 1e-5
    assert found.top1_agreement == 1.0


def test_int8_in_float16_differs_as_float16_of_the_program_does(
    bundles: Path, program: GraphModule, traced: TracedModel
) -> None:
    exact = answers_of(program, traced, PIXELS, half=True)
    explained = compare(exact, half_answers(program, traced))
    found = compare(exact, evaluated(artifact(bundles, "int8"), "fp16"))
    print(f"mean KL of float16: {explained.mean_kl:.1e} in PyTorch, {found.mean_kl:.1e} in the package")
    assert found.mean_kl < 3 * explained.mean_kl


def test_float32_is_pytorch_on_noise(bundles: Path, run: Path) -> None:
    from arbex.reference import answer

    noise: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    expected = Prediction(*answer(load_run(run), noise))
    with open_bundle(bundles / "iphone").open("fp32") as runtime:
        assert runtime.name == "coreml-evaluator"
        assert compare(expected, runtime.run(noise)).max_abs_error <= 1e-5


def test_a_mac_runs_core_ml_itself() -> None:
    assert runtime_on("darwin") is CoreMl
    assert runtime_on("linux") is runtime_on("win32") is CoreMlEvaluator


def test_threads_are_those_of_the_caller_afterwards(bundles: Path) -> None:
    before = torch.get_num_threads()
    with open_bundle(bundles / "iphone").open("fp32", threads=before + 1) as runtime:
        runtime.run(PIXELS[:1])
    assert torch.get_num_threads() == before


def test_any_number_of_threads_gives_the_same_answers_in_the_same_order(bundles: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    before = torch.get_num_threads()
    opened = open_bundle(bundles / "iphone")
    with opened.open("int8", threads=1) as one, opened.open("int8", threads=3) as three:
        for alone, together in zip(one.run_all(images), three.run_all(images), strict=True):
            np.testing.assert_array_equal(together, alone)
            assert not np.array_equal(alone, alone[::-1])
    assert torch.get_num_threads() == before
