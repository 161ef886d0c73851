"""What a user gives to a training: defaults, and arguments that exclude each other or would have no effect."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import arbex
from arbex.errors import InputError, RunError, UnsupportedError
from arbex.methods.base import MethodOptions
from arbex.methods.reliability import ReliabilityOptions
from arbex.settings import PRESET_SETTINGS, TrainSettings
from arbex.training.arguments import TrainArguments, as_texts, make_request
from arbex.training.configuration import TrainRequest


def test_the_defaults() -> None:
    request = make_request(TrainArguments(data="faces", out=Path("run")))
    assert (request.preset, request.method, request.anchors, request.side) == ("tiny", "arbex", 10, 64)
    assert request.settings == PRESET_SETTINGS["tiny"]
    named = make_request(TrainArguments(data="faces", out=None, preset="mobile", method="poster"))
    assert named.out.parent == Path("runs")
    assert named.out.name.endswith("-mobile-poster")


@pytest.mark.parametrize(
    ("preset", "hidden"), [("tiny", 0), ("small", 0), ("mobile", 0), ("base", 64), ("poster-v1", 64)]
)
def test_presets_for_random_weights_have_a_linear_primary_classifier(preset: str, hidden: int) -> None:
    def options(*settings: str, **arguments: Any) -> MethodOptions:
        given = TrainArguments(data="faces", out=Path("run"), preset=preset, settings=settings, **arguments)
        return make_request(given).options

    assert options() == ReliabilityOptions(hidden=hidden)
    assert options("delta=2") == ReliabilityOptions(hidden=hidden, delta=2)
    assert options("hidden=32") == ReliabilityOptions(hidden=32)
    bare = TrainRequest(data="faces", out=Path("run"), preset=preset, method="arbex", settings=TrainSettings())
    assert bare.options == options()
    assert not hasattr(options(method="poster"), "hidden")


def test_a_backbone_of_ones_own_has_the_papers_primary_classifier() -> None:
    assert make_request(TrainArguments(data="faces", out=Path("run"), backbone="a:b")).options == ReliabilityOptions()


def test_settings_come_as_a_mapping_as_texts_or_as_one_text() -> None:
    assert as_texts({"epochs": 3, "mixup": 0.2}) == ("epochs=3", "mixup=0.2")
    assert as_texts(["epochs=3", "mixup=0.2"]) == ("epochs=3", "mixup=0.2")
    assert as_texts("epochs=3") == ("epochs=3",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "tiny", "backbone": "a:b"}, "exclude each other"),
        ({"new_head": True}, "--new-head was given without --init"),
        ({"teacher_backbone": "a:b"}, "--teacher-backbone was given without --teacher"),
        ({"method": "poster", "anchors": 3}, "method 'poster' has no anchors. Allowed with --anchors: arbex."),
        ({"windows": (7,), "backbone": "a:b"}, "no attention windows"),
        ({"settings": ["distil-mirrored=true"]}, "'distil_mirrored' has no effect without a teacher.*--teacher RUN"),
        ({"settings": ["restart_epochs=3"]}, "has no effect, since schedule is 'one-cycle'.*--set schedule=restarts"),
        ({"settings": ["decay=0.9"]}, "--set schedule=exponential"),
        ({"settings": ["label_noise_kind=look-alike"]}, "has no effect, since label_noise is 0.*label_noise=VALUE"),
        ({"settings": ["images_per_class=9", "sampling=natural"]}, "'images_per_class' has no effect, since sampling"),
        ({"settings": ["weights=equal", "trust=ramp"]}, "'trust' has no effect, since weights is 'equal'.*=confidence"),
        ({"settings": ["correction=attention", "anchor-rate=3"]}, "'anchor_rate' has no effect.*correction=both"),
        ({"settings": ["correction=none", "weights=equal"]}, "'weights' has no effect, since correction is 'none'"),
        ({"epochs": 1, "settings": "epochs=3"}, "epochs was given twice: as --epochs 1, and as a setting"),
        ({"seed": 1, "settings": {"seed": 2}}, "seed was given twice"),
        ({"image_size": 0}, "image_size is 0. Allowed: 16 to 4096"),
    ],
)
def test_what_excludes_each_other_or_has_no_effect_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        arbex.train("faces", out="run", **arguments)  # type: ignore[arg-type]


def test_what_has_an_effect_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    given = TrainArguments(
        data="faces",
        out=Path("run"),
        teacher=Path("teacher"),
        settings=("distil_mirrored=true", "schedule=restarts", "restart_epochs=3"),
    )
    monkeypatch.setattr("arbex.training.arguments.check_sources", lambda _: None)
    settings = make_request(given).settings
    assert (settings.distil_mirrored, settings.restart_epochs) == (True, 3)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnsupportedError, match="preset 'large' is not known. Allowed: tiny, small, mobile, base"):
        arbex.train("faces", out="run", preset="large")


def test_runs_to_start_from_and_to_learn_from_are_looked_for_before_images_are_read() -> None:
    with pytest.raises(RunError, match=r"run or weights file nowhere.pth \(--init\) does not exist"):
        arbex.train("faces", out="run", init=["nowhere.pth"])
    with pytest.raises(RunError, match="The run nowhere does not exist"):
        arbex.train("faces", out="run", teacher="nowhere")


def test_a_run_cannot_lie_among_the_images(faces: Path, tmp_path: Path) -> None:
    """A later training would take it for a class."""
    for name in ("train", "train/anger/run"):
        with pytest.raises(InputError, match="lies among the images in .*/train, where it would be taken for a class"):
            arbex.train(str(faces), out=faces / name, epochs=0)
    with pytest.raises(InputError, match="labels.csv is a file; a folder must be written there"):
        arbex.train(str(faces), out=faces / "labels.csv" / "run", epochs=0)
    whole = tmp_path / "whole"
    shutil.copytree(faces / "test", whole)
    with pytest.raises(InputError, match="lies among the images"):
        arbex.train(str(whole), out=whole / "run", epochs=0)
    assert not (whole / "run").exists()
