"""What a user may not read is named, with exit code 2, and not left out in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.runtimes.miniature import SIDE, write_miniature
from tests.unprivileged import run_unprivileged

INVOKE = "from arbex.cli import invoke; print('exit', invoke({}, 'arbex'))"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a bundle, and pictures in ``faces`` and ``faces/closed``, which is readable as yet."""
    write_miniature(tmp_path / "cpu")
    (tmp_path / "faces" / "closed").mkdir(parents=True)
    for name in ("faces/a.png", "faces/closed/b.png"):
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / name)
    return tmp_path


def test_run_does_not_leave_out_a_folder_in_silence(here: Path) -> None:
    command = INVOKE.format(["run", "cpu", "faces", "--json"])
    answers = json.loads(run_unprivileged(command, here).rpartition("exit 0")[0])
    assert [answer["file"] for answer in answers] == ["faces/a.png", "faces/closed/b.png"]
    (here / "faces" / "closed").chmod(0)
    said = run_unprivileged(command, here)
    (here / "faces" / "closed").chmod(0o755)
    assert "Error: faces/closed cannot be read: Permission denied. Give this user permission" in said
    assert said.endswith("exit 2\n")


BELOW = [["run", "cpu", "faces/closed/b.png"], ["inspect", "faces/closed/cpu"]]


@pytest.mark.parametrize("command", BELOW, ids=" ".join)
def test_a_path_below_a_closed_folder_is_refused_in_one_paragraph(command: list[str], here: Path) -> None:
    (here / "faces" / "closed").chmod(0)
    said = run_unprivileged(INVOKE.format(command), here)
    (here / "faces" / "closed").chmod(0o755)
    assert "Error: faces/closed" in said
    assert "Permission denied" in said
    assert said.endswith("exit 2\n")
