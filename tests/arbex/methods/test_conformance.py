"""What every method must do: train, resume, answer for one image at a time, and leave as the same three outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import load_run, open_run, read_weights
from arbex.cli import invoke
from arbex.evaluation import evaluate
from arbex.methods import METHODS
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from arbex.training.settings import PRESET_SETTINGS, TrainSettings

SETTINGS = replace(PRESET_SETTINGS["tiny"], epochs=2, images_per_class=8, batch_size=14, schedule="exponential")
OPTIONS = {"scn": {"relabel_epoch": 1, "relabel_margin": 0.0}, "nla": {"form": "code"}}


def request(faces: Path, out: Path, method: str, settings: TrainSettings = SETTINGS, **other: bool) -> TrainRequest:
    return TrainRequest(str(faces), out, "tiny", method, settings, method_options=OPTIONS.get(method, {}), **other)


@pytest.fixture(scope="module")
def runs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run a method, made when it is first asked for."""
    root = tmp_path_factory.mktemp("methods")

    class Runs(dict[str, Path]):
        def __missing__(self, method: str) -> Path:
            train(request(faces, root / method, method))
            self[method] = root / method
            return self[method]

    return Runs()


@pytest.mark.parametrize("method", METHODS)
def test_a_run_answers_with_distributions(runs: dict[str, Path], faces: Path, method: str):
    assert open_run(runs[method]).config.method_options.items() >= OPTIONS.get(method, {}).items()
    result = evaluate(str(runs[method]), str(faces), "val")
    assert 0 <= result["accuracy"] <= 1
    assert sum(map(sum, result["confusion"])) == result["n"]
    if method != "arbex":  # no correction
        assert result["std_corrected"] == result["std_primary"]


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_does_not_depend_on_the_batch(runs: dict[str, Path], method: str):
    model = load_run(runs[method])
    x = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        whole, single = model(x).corrected, torch.cat([model(x[i : i + 1]).corrected for i in range(5)])
    assert torch.allclose(whole, single, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_the_uninterrupted_one(runs: dict[str, Path], faces: Path, tmp_path: Path, method: str):
    parts = tmp_path / "parts"
    train(request(faces, parts, method, replace(SETTINGS, epochs=1)))
    train(request(faces, parts, method, resume=True))
    whole, resumed = (read_weights(run / "last.safetensors") for run in (runs[method], parts))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "arbex"])
def test_a_run_exports_as_the_same_three_outputs(runs: dict[str, Path], faces: Path, tmp_path: Path, method: str):
    code = invoke(
        ["export", str(runs[method]), "--target", "cpu", "--target", "android", "--precision", "fp32"]
        + ["--precision", "int8", "--calibration", str(faces), "--samples", "32", "--min-agreement", "0"]
        + ["--out", str(tmp_path)],
        "arbex",
    )
    assert code == 0
    for target in ("cpu", "android"):
        manifest = json.loads((tmp_path / target / "manifest.json").read_text())
        assert len(manifest["artifacts"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_exports_to_all_targets(runs: dict[str, Path], faces: Path, tmp_path: Path, method: str):
    given = ["export", str(runs[method]), "--target", "all", "--calibration", str(faces), "--min-agreement", "0"]
    assert invoke([*given, "--out", str(tmp_path)], "arbex") == 0
