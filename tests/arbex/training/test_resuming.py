"""Resuming by the arguments of a user: what is left out is as in the run, and what must not change is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import arbex
from arbex.checkpoint import RunConfig, open_run, read_weights
from arbex.errors import InputError, RunError
from tests.reporters import Lines

STARTED = {
    "preset": "tiny",
    "method": "nla",
    "image_size": 32,
    "seed": 5,
    "windows": (2,),
    "settings": {"images_per_class": 8, "batch_size": 8, "sampling": "quota", "learning_rate": 0.002},
}


def config(run: Path) -> RunConfig:
    return open_run(run).config


@pytest.fixture(scope="module")
def started(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch out of two, with other values than the defaults."""
    run = tmp_path_factory.mktemp("started") / "run"
    arbex.train(str(faces), out=run, epochs=1, **STARTED)  # type: ignore[arg-type]
    content = json.loads((run / "config.json").read_text())
    content["settings"]["epochs"] = 2  # as if it had been interrupted in the second
    (run / "config.json").write_text(json.dumps(content))
    return run


def copy(run: Path, to: Path) -> Path:
    to.mkdir()
    for file in run.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_what_is_left_out_is_as_in_the_run(started: Path, faces: Path, tmp_path: Path) -> None:
    short, full = copy(started, tmp_path / "short"), copy(started, tmp_path / "full")
    arbex.train(str(faces), out=short, resume=True)
    arbex.train(str(faces), out=full, epochs=2, resume=True, **STARTED)  # type: ignore[arg-type]
    assert config(short) == config(full) == config(started)
    a, b = read_weights(short / "last.safetensors"), read_weights(full / "last.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in b)
    assert len((short / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "poster"}, "was started with method nla, not poster. Leave method out"),
        ({"preset": "mobile"}, "was started with preset tiny, not mobile"),
        ({"image_size": 48}, "was started with image_size 32, not 48"),
        ({"seed": 0}, "was started with seed 5, not 0"),
        ({"windows": (4,)}, r"was started with windows? 2, not 4"),
        ({"settings": "learning_rate=0.01"}, "was started with learning_rate 0.002, not 0.01"),
        ({"settings": ["label_smoothing=0.3"]}, "was started with label_smoothing 0.11, not 0.3.*--init"),
    ],
)
def test_what_must_not_change_is_named(
    change: dict[str, object], words: str, started: Path, faces: Path, tmp_path: Path
) -> None:
    run = copy(started, tmp_path / "run")
    before = (run / "config.json").read_text()
    with pytest.raises(RunError, match=words):
        arbex.train(str(faces), out=run, resume=True, **change)  # type: ignore[arg-type]
    assert (run / "config.json").read_text() == before


def test_only_the_length_of_a_training_may_change(started: Path, faces: Path, tmp_path: Path) -> None:
    run = copy(started, tmp_path / "run")
    arbex.train(str(faces), out=run, resume=True, epochs=3, settings={"patience": 7})
    assert (config(run).settings.epochs, config(run).settings.patience) == (3, 7)
    assert open_run(run).config.settings.learning_rate == 0.002
    said = Lines()
    arbex.train(str(faces), out=run, resume=True, report=said)
    assert f"{run} has trained for all of its 3 epochs; --epochs gives it more" in said.lines
    before = (run / "config.json").read_text()
    with pytest.raises(InputError, match="has trained for 3 epochs; epochs is 2. Allowed: 3 or more"):
        arbex.train(str(faces), out=run, resume=True, epochs=2)
    assert (run / "config.json").read_text() == before


def test_other_images_and_another_teacher_are_refused(started: Path, faces: Path, run: Path, tmp_path: Path) -> None:
    copied = copy(started, tmp_path / "run")
    with pytest.raises(RunError, match="was started with another teacher"):
        arbex.train(str(faces), out=copied, resume=True, teacher=run)
    with pytest.raises(RunError, match="was started with other weights"):
        arbex.train(str(faces), out=copied, resume=True, init=[run])
    moved, fewer = tmp_path / "moved", tmp_path / "fewer"
    shutil.copytree(faces, moved)
    for source in faces.rglob("*"):
        if source.is_file():
            (fewer / source.relative_to(faces)).parent.mkdir(parents=True, exist_ok=True)
            (fewer / source.relative_to(faces)).symlink_to(source)
    next((fewer / "train").rglob("*.png")).unlink()
    with pytest.raises(RunError, match="was started with other training images or classes"):
        arbex.train(str(fewer), out=copied, resume=True)
    (fewer / "classes.txt").unlink()
    for split in ("train", "val", "test"):
        (fewer / split / "anger").rename(fewer / split / "rage")
    (fewer / "labels.csv").unlink()
    with pytest.raises(RunError, match="was started with other training images or classes"):
        arbex.train(str(fewer), out=copied, resume=True)
    arbex.train(str(moved), out=copied, resume=True)
    assert config(copied).data["path"] == str(moved)


def test_a_taught_run_finds_its_teacher_again(faces: Path, run: Path, tmp_path: Path) -> None:
    quick = {"images_per_class": "8", "batch_size": "8"}
    shutil.copytree(run, tmp_path / "teacher")
    student = tmp_path / "student"
    arbex.train(str(faces), out=student, teacher=tmp_path / "teacher", epochs=1, image_size=32, settings=quick)
    arbex.train(str(faces), out=student, resume=True, epochs=2)
    assert '"distil"' in (student / "metrics.jsonl").read_text().splitlines()[1]
    (tmp_path / "teacher").rename(tmp_path / "moved")
    with pytest.raises(RunError, match="The run .*/teacher does not exist"):
        arbex.train(str(faces), out=student, resume=True, epochs=3)
    arbex.train(str(faces), out=student, resume=True, epochs=3, teacher=tmp_path / "moved")
    assert config(student).data["teacher_path"] == str(tmp_path / "moved")


def test_the_run_to_resume_must_be_given(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--resume was given without --out"):
        arbex.train(str(faces), resume=True)
    with pytest.raises(RunError, match="There is no run nowhere to resume"):
        arbex.train(str(faces), out="nowhere", resume=True)
    assert list(tmp_path.iterdir()) == []


def test_weights_to_start_from_are_not_needed_again(faces: Path, run: Path, tmp_path: Path) -> None:
    quick = {"images_per_class": "8", "batch_size": "8", "sampling": "quota"}
    arbex.train(str(faces), out=tmp_path / "run", init=[run], epochs=1, settings=quick)
    first = config(tmp_path / "run").data["init"]
    arbex.train(str(faces), out=tmp_path / "run", resume=True, epochs=2)
    assert config(tmp_path / "run").data["init"] == first
