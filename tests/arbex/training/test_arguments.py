"""What a user gives to a training: defaults, and arguments that exclude each other or would have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

import arbex
from arbex.errors import InputError, UnsupportedError
from arbex.settings import PRESET_SETTINGS
from arbex.training.arguments import TrainArguments, as_texts, make_request


def test_the_defaults() -> None:
    request = make_request(TrainArguments(data="faces", out=Path("run")))
    assert (request.preset, request.method, request.anchors, request.side) == ("tiny", "arbex", 10, 64)
    assert request.settings == PRESET_SETTINGS["tiny"]
    named = make_request(TrainArguments(data="faces", out=None, preset="mobile", method="poster"))
    assert named.out.parent == Path("runs")
    assert named.out.name.endswith("-mobile-poster")


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
        ({"windows": (7,), "backbone": "a:b"}, "no attention windows"),
        ({"settings": ["distil-mirrored=true"]}, "'distil_mirrored' has no effect without a teacher.*--teacher RUN"),
        ({"settings": ["restart_epochs=3"]}, "has no effect, since schedule is 'one-cycle'.*--set schedule=restarts"),
        ({"settings": ["decay=0.9"]}, "--set schedule=exponential"),
        ({"settings": ["images_per_class=9", "sampling=natural"]}, "'images_per_class' has no effect, since sampling"),
        ({"image_size": 0}, "image_size is 0. Allowed: 16 to 4096"),
    ],
)
def test_what_excludes_each_other_or_has_no_effect_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        arbex.train("faces", out="run", **arguments)  # type: ignore[arg-type]


def test_what_has_an_effect_is_taken() -> None:
    given = TrainArguments(
        data="faces",
        out=Path("run"),
        teacher=Path("teacher"),
        settings=("distil_mirrored=true", "schedule=restarts", "restart_epochs=3"),
    )
    settings = make_request(given).settings
    assert (settings.distil_mirrored, settings.restart_epochs) == (True, 3)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnsupportedError, match="preset 'large' is not known. Allowed: tiny, small, mobile, base"):
        arbex.train("faces", out="run", preset="large")
