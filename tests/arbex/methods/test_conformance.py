"""What every method must do: train, resume, answer for one image at a time, and leave as the same three outputs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from arbex.checkpoint import load_run, open_run, read_weights
from arbex.cli import invoke
from arbex.data.loading import read_pixels
from arbex.errors import InputError
from arbex.evaluation.runs import evaluate
from arbex.methods import METHODS, load_method, method_class
from arbex.methods.base import MethodOptions
from arbex.methods.nla import NlaOptions
from arbex.methods.scn import ScnOptions
from arbex.models.head import LinearHead
from arbex.settings import PRESET_SETTINGS, TrainSettings
from arbex.spec import IMAGENET_MEAN, IMAGENET_STD, OUTPUT_NAMES
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train

SETTINGS = replace(
    PRESET_SETTINGS["tiny"], epochs=2, images_per_class=8, batch_size=14, schedule="exponential", lambda_tokens=1.0
)
OPTIONS: dict[str, MethodOptions] = {
    "scn": ScnOptions(relabel_margin=0.0),
    "nla": NlaOptions(form="code"),
}

EVERY_METHOD = [pytest.param(name, marks=[pytest.mark.slow] if name == "ran" else []) for name in METHODS]
"""All methods; one that looks at six regions of a face takes six times as long."""


def request(
    data: Path, out: Path, method: str, runs: dict[str, Path], settings: TrainSettings = SETTINGS, **other: Any
) -> TrainRequest:
    return TrainRequest(
        data=str(data),
        out=out,
        preset="tiny",
        method=method,
        settings=settings,
        method_options=OPTIONS.get(method),
        teacher=runs["poster"] if method_class(method).needs_teacher else None,
        **other,
    )


class Runs(dict[str, Path]):
    """A run of each method, made when it is first asked for."""

    def __init__(self, data: Path, root: Path, settings: TrainSettings, **other: Any) -> None:
        super().__init__()
        self.data, self.root, self.settings, self.other = data, root, settings, other

    def __missing__(self, method: str) -> Path:
        train(request(self.data, self.root / method, method, self, self.settings, **self.other))
        self[method] = self.root / method
        return self[method]


@pytest.fixture(scope="module")
def runs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short run of each method on faces."""
    return Runs(faces, tmp_path_factory.mktemp("methods"), SETTINGS)


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_an_evaluation_counts_the_models_own_answers(runs: dict[str, Path], faces: Path, method: str) -> None:
    model = load_run(runs[method])
    faces_seen, labels = read_pixels(str(faces), "val", model.labels, 64)
    pixels = faces_seen[:]
    mean, std = np.array(IMAGENET_MEAN, dtype=np.float32), np.array(IMAGENET_STD, dtype=np.float32)
    images = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        output = model(images)
    result = evaluate(str(runs[method]), str(faces), "val")
    assert result.n == len(labels)
    for distribution, found in ((output.corrected, result.corrected), (output.primary, result.primary)):
        answers = distribution.argmax(1).tolist()
        assert torch.allclose(distribution.sum(1), torch.ones(len(labels)), atol=1e-5)
        assert found.accuracy == pytest.approx(np.mean([a == label for a, label in zip(answers, labels, strict=True)]))
        counts = Counter(zip(labels.tolist(), answers, strict=True))
        assert found.confusion == tuple(tuple(counts[row, column] for column in range(7)) for row in range(7))
    assert result.std_corrected == pytest.approx(output.corrected.std(1).mean().item(), abs=1e-6)
    assert torch.equal(output.corrected, output.primary) == (method != "arbex")  # the others correct nothing


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_options_are_stored_in_the_run(runs: dict[str, Path], method: str) -> None:
    stored = open_run(runs[method]).config.method_options
    assert stored == OPTIONS.get(method, method_class(method).usual_options("tiny"))


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that is mostly red, green or blue: what any method must be able to tell apart in a few steps."""
    root, rng = tmp_path_factory.mktemp("colors"), np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 12)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8)
                pixels[:, :, channel] += 80
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def learned(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method on those colors, made when it is first asked for."""
    settings = replace(PRESET_SETTINGS["tiny"], epochs=4, images_per_class=24, batch_size=12, dropout=0.0)
    return Runs(colors, tmp_path_factory.mktemp("learned"), settings, image_size=32)


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_training_learns_what_tells_classes_apart(learned: dict[str, Path], colors: Path, method: str) -> None:
    result = evaluate(str(learned[method]), str(colors), "val")
    assert result.corrected.accuracy > 0.9  # by chance, a third
    assert result.primary.accuracy > 0.9


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_an_answer_does_not_depend_on_the_batch(runs: dict[str, Path], method: str) -> None:
    model = load_run(runs[method])
    x = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        whole, single = model(x).corrected, torch.cat([model(x[i : i + 1]).corrected for i in range(5)])
    assert torch.allclose(whole, single, atol=1e-5)


@pytest.mark.parametrize("method", EVERY_METHOD)
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
        assert line["class"] == 0
        assert "tokens" not in line
        assert line["loss"] == pytest.approx(line["distil"]) != 0
    settings = open_run(runs["efficientface"]).config.settings
    assert (settings.distil_share, settings.distil_temperature, settings.distil_embedding) == (1.0, 1.0, 0.0)


def test_a_method_without_its_teacher_is_refused(faces: Path, tmp_path: Path) -> None:
    alone = TrainRequest(
        data=str(faces), out=tmp_path / "run", preset="tiny", method="efficientface", settings=SETTINGS
    )
    with pytest.raises(InputError, match="'efficientface' learns from .* none was given.*--teacher"):
        train(alone)
    assert not (tmp_path / "run").exists()


FORMATS = ["cpu", "iphone", "android"]
"""Targets that lower a graph in ways of their own; the engines of the others are compiled from the same ONNX graph."""

EXPORTED = {"poster": FORMATS, "ran": FORMATS, "tcl": ["cpu", "android"], "scn": ["cpu"], "rul": ["cpu"]}
"""Targets by method: all formats for the two graphs that differ most, LinearHead's and that of six regions. The tests
of export write ``arbex`` for all targets."""

IN_LAB = {"ran": pytest.mark.lab, "tcl": pytest.mark.lab}
"""Marks of the methods whose export takes the longest."""

LIKE_POSTER = ("nla", "efficientface")
"""Methods that train otherwise and leave the same graph as ``poster``."""


def test_every_method_is_exported_or_leaves_the_graph_of_one_that_is() -> None:
    assert {*EXPORTED, *LIKE_POSTER, "arbex"} == set(METHODS)
    for method in ("poster", *LIKE_POSTER):
        assert type(load_method(method).build_head(8, 7, anchors=0)) is LinearHead
        assert load_method(method).build_regions() is None


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param(name, marks=IN_LAB.get(name, ())) for name in EXPORTED])
def test_a_run_exports_as_the_same_three_outputs(
    runs: dict[str, Path], faces: Path, tmp_path: Path, method: str
) -> None:
    targets = [word for target in EXPORTED[method] for word in ("--target", target)]
    given = ["export", str(runs[method]), *targets, "--calibration", str(faces)]
    given += ["--precision", "int8", "--samples", "32", "--min-agreement", "0", "--out", str(tmp_path)]
    assert invoke(given, "arbex") == 0
    manifests = list(tmp_path.glob("*/manifest.json"))
    assert {path.parent.name for path in manifests} == set(EXPORTED[method])
    for path in manifests:
        assert [output["name"] for output in json.loads(path.read_text())["outputs"]] == list(OUTPUT_NAMES)
