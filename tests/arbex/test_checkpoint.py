"""Runs on disk: what is read back, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import BEST, CONFIG, load_run, newest_run, open_run, read_config
from arbex.errors import RunError


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "runs" / "copy"))


def test_a_configuration_survives_the_disk(run: Path) -> None:
    config = read_config(run)
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_loaded_model_is_ready_and_leaves_the_callers_random_numbers_alone(run: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = load_run(run)
    assert torch.equal(torch.rand(3), expected)
    assert not model.training
    assert model.labels == open_run(run).config.labels


@pytest.mark.parametrize("name", [CONFIG, BEST])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(RunError, match=f"not a complete run: {name} is missing"):
        load_run(copy)


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', "\xff"])
def test_a_damaged_configuration_is_refused(copy: Path, content: str) -> None:
    (copy / CONFIG).write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match="is damaged"):
        load_run(copy)


def test_a_later_schema_is_refused_with_its_number(copy: Path) -> None:
    value = json.loads((copy / CONFIG).read_text())
    (copy / CONFIG).write_text(json.dumps({**value, "schema": 99}))
    with pytest.raises(RunError, match="schema 99"):
        open_run(copy)


def test_truncated_weights_are_refused(copy: Path) -> None:
    content = (copy / BEST).read_bytes()
    (copy / BEST).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="best.safetensors is damaged"):
        load_run(copy)


def test_weights_of_another_model_are_refused(copy: Path) -> None:
    value = json.loads((copy / CONFIG).read_text())
    (copy / CONFIG).write_text(json.dumps({**value, "anchors": 3}))
    with pytest.raises(RunError, match="do not fit"):
        load_run(copy)


def test_the_newest_complete_run_is_found(copy: Path) -> None:
    root = copy.parent
    older = Path(shutil.copytree(copy, root / "older"))
    os.utime(older / BEST, (1, 1))
    (root / "unfinished").mkdir()
    (root / "unfinished" / CONFIG).write_text("{}")
    assert newest_run(root) == copy
    with pytest.raises(RunError, match="there is no complete run under"):
        newest_run(root / "unfinished")


def test_what_a_killed_process_left_half_done_is_no_run(tmp_path: Path) -> None:
    for name in ("whole", ".whole.half-done"):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).touch()
        (tmp_path / name / BEST).touch()
    os.utime(tmp_path / "whole" / BEST, (1, 1))
    assert newest_run(tmp_path) == tmp_path / "whole"
