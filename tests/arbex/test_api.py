"""The toolkit as a library: the same names and defaults as on the command line, and nothing loaded before its use."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

import arbex
from arbex.cli.bench import bench
from arbex.cli.evaluate import evaluate
from arbex.cli.export import calibrate, export
from arbex.cli.run import run as run_command
from arbex.cli.train import train
from arbex.cli.verify import verify
from arbex.errors import InputError
from tests.limits import FEW

COMMANDS = {
    "bench": bench,
    "calibrate": calibrate,
    "classify": run_command,
    "evaluate": evaluate,
    "export": export,
    "train": train,
    "verify": verify,
}
OTHERWISE = {"assignments": "settings"}
"""What functions call a parameter that the commands call otherwise."""


def test_importing_it_loads_nothing() -> None:
    code = "import arbex, sys; print({'numpy', 'torch', 'click', 'cattrs'} & set(sys.modules), arbex.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"set() {arbex.__version__}"


def test_all_names_are_there_and_others_are_not() -> None:
    assert [name for name in arbex.__all__ if not callable(getattr(arbex, name))] == []
    assert dir(arbex) == sorted(arbex.__all__)
    with pytest.raises(AttributeError, match="no attribute 'quantize'"):
        _ = arbex.quantize


@pytest.mark.parametrize("name", COMMANDS)
def test_functions_have_the_defaults_of_the_commands(name: str) -> None:
    ours = inspect.signature(getattr(arbex, name)).parameters
    compared = []
    for parameter in COMMANDS[name].params:
        if not isinstance(parameter, click.Option) or not parameter.expose_value:
            continue
        if parameter.name in ("as_json", "report_files"):
            continue  # how the command shows its outcome
        if parameter.required:
            continue
        here = ours[OTHERWISE.get(str(parameter.name), str(parameter.name))].default
        assert readable(parameter, here) == readable(parameter, parameter.get_default(click.Context(COMMANDS[name])))
        compared.append(parameter.name)
    assert compared


def readable(parameter: click.Option, value: Any) -> Any:
    """Returns a default as the command understands it: no values, None and False all mean that nothing was given."""
    if value in (None, (), False) or "UNSET" in repr(value):
        return None
    return parameter.type.convert(value, parameter, None)


def test_a_bundle_is_checked_timed_and_used(bundles: Path, faces: Path, tmp_path: Path) -> None:
    outcome = arbex.verify(bundles / "cpu", data=str(faces), limit=14, max_kl=0.1, min_agreement=0.5, thresholds=FEW)
    assert outcome.passed
    assert [row.artifact for row in outcome.bundles[0].artifacts] == ["model.fp32.onnx", "model.int8.onnx"]
    assert arbex.verify([bundles / "cpu", bundles / "android"]).passed
    pixels = np.random.default_rng(0).integers(0, 256, (80, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    (answer,) = arbex.classify(bundles / "cpu", tmp_path / "face.png")
    with arbex.open_bundle(bundles / "cpu").open() as runtime:
        assert runtime.name == "onnxruntime"
    assert answer.label == max(answer.corrected, key=answer.corrected.__getitem__)
    (full, *_) = arbex.bench(bundles / "cpu")
    assert full.figures is not None
    assert full.figures.p50_ms > 0


def test_a_run_is_trained_and_measured(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"images_per_class": 8, "batch_size": 14, "learning_rate": 0.001}
    run = arbex.train(str(faces), epochs=1, settings=settings)
    assert run.parent == Path("runs")
    model = arbex.load_run(run)
    assert len(model.labels) == 7
    assert arbex.evaluate(run, str(faces), split="val").n > 0
    with pytest.raises(InputError, match="exclude each other"):
        arbex.train(str(faces), preset="tiny", backbone="a:b")
    shutil.rmtree(run)
