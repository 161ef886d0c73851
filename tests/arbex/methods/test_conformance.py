"""What every method must do: train, resume, answer for one image at a time, and leave as the same three outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import load_run, open_run, read_weights
from arbex.cli import invoke
from arbex.errors import RunError
from arbex.evaluation import evaluate
from arbex.methods import METHODS, method_class
from arbex.methods.base import MethodOptions
from arbex.methods.nla import NlaOptions
from arbex.methods.scn import ScnOptions
from arbex.settings import PRESET_SETTINGS, TrainSettings
from arbex.spec import OUTPUT_NAMES
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from export.registry import TARGETS

SETTINGS = replace(PRESET_SETTINGS["tiny"], epochs=2, images_per_class=8, batch_size=14, schedule="exponential")
OPTIONS: dict[str, MethodOptions] = {
    "scn": ScnOptions(relabel_epoch=1, relabel_margin=0.0),
    "nla": NlaOptions(form="code"),
}


def request(
    faces: Path,
    out: Path,
    method: str,
    runs: dict[str, Path],
    settings: TrainSettings = SETTINGS,
    *,
    resume: bool = False,
) -> TrainRequest:
    teacher = runs["poster"] if method_class(method).needs_teacher else None
    options = OPTIONS.get(method)
    return TrainRequest(
        data=str(faces),
        out=out,
        preset="tiny",
        method=method,
        settings=settings,
        method_options=options,
        teacher=teacher,
        resume=resume,
    )


@pytest.fixture(scope="module")
def runs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run a method, made when it is first asked for."""
    root = tmp_path_factory.mktemp("methods")

    class Runs(dict[str, Path]):
        def __missing__(self, method: str) -> Path:
            train(request(faces, root / method, method, self))
            self[method] = root / method
            return self[method]

    return Runs()


@pytest.mark.parametrize("method", METHODS)
def test_a_run_answers_with_distributions(runs: dict[str, Path], faces: Path, method: str) -> None:
    stored = open_run(runs[method]).config.method_options
    assert stored == OPTIONS.get(method, method_class(method).options_type())
    result = evaluate(str(runs[method]), str(faces), "val")
    assert 0 <= result.corrected.accuracy <= 1
    assert sum(map(sum, result.corrected.confusion)) == result.n
    if method != "arbex":  # no correction
        assert result.std_corrected == result.std_primary


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_does_not_depend_on_the_batch(runs: dict[str, Path], method: str) -> None:
    model = load_run(runs[method])
    x = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        whole, single = model(x).corrected, torch.cat([model(x[i : i + 1]).corrected for i in range(5)])
    assert torch.allclose(whole, single, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_is_the_uninterrupted_one(
    runs: dict[str, Path], faces: Path, tmp_path: Path, method: str
) -> None:
    parts = tmp_path / "parts"
    train(request(faces, parts, method, runs, replace(SETTINGS, epochs=1)))
    train(request(faces, parts, method, runs, resume=True))
    whole, resumed = (read_weights(run / "last.safetensors") for run in (runs[method], parts))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_label_distributions_take_the_place_of_labels(runs: dict[str, Path]) -> None:
    lines = [json.loads(line) for line in (runs["efficientface"] / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert (line["class"], line["tokens"]) == (0.0, 0.0)
        assert line["loss"] == pytest.approx(line["distil"]) != 0
    settings = open_run(runs["efficientface"]).config.settings
    assert (settings.distil_share, settings.distil_temperature, settings.distil_embedding) == (1.0, 1.0, 0.0)


def test_a_method_without_its_teacher_is_refused(faces: Path, tmp_path: Path) -> None:
    alone = TrainRequest(
        data=str(faces), out=tmp_path / "run", preset="tiny", method="efficientface", settings=SETTINGS
    )
    with pytest.raises(RunError, match="there is none.*--teacher"):
        train(alone)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in METHODS if name != "arbex"])
def test_a_run_exports_to_all_targets_as_the_same_three_outputs(
    runs: dict[str, Path], faces: Path, tmp_path: Path, method: str
) -> None:
    given = ["export", str(runs[method]), "--target", "all", "--calibration", str(faces)]
    given += ["--samples", "32", "--min-agreement", "0", "--out", str(tmp_path)]
    assert invoke(given, "arbex") == 0
    manifests = list(tmp_path.glob("*/manifest.json"))
    assert {path.parent.name for path in manifests} == {target.name for target in TARGETS.values() if target.in_all}
    for path in manifests:
        assert [output["name"] for output in json.loads(path.read_text())["outputs"]] == list(OUTPUT_NAMES)
