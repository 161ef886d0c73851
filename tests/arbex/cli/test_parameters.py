"""An empty path is a mistake, in a script for example whose variable is not set; it is not the working folder."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from PIL import Image

from arbex.cli import COMMANDS, invoke, root
from tests.runtimes.miniature import SIDE, write_miniature

TEXTS = {"data", "calibration", "init"}
"""Parameters that are text, since they name a layout or a file of a certain format along with the path."""


def parameters() -> list[tuple[str, click.Parameter]]:
    """Returns every parameter that takes a path, with its command's name."""
    context, found = click.Context(root), []
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter.type, click.Path) or parameter.name in TEXTS:
                found.append((name, parameter))
    return found


def arguments(command: str, empty: click.Parameter) -> list[str]:
    """Returns a command line on which one parameter is empty and the others that it needs are not."""
    found = root.get_command(click.Context(root), command)
    assert found is not None
    line = [command]
    for parameter in found.params:
        if not parameter.required and parameter is not empty:
            continue
        choices = getattr(parameter.type, "choices", ["x"])
        value = "" if parameter is empty else choices[0]
        line += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return line


@pytest.mark.parametrize(
    ("command", "parameter"), parameters(), ids=lambda v: v if isinstance(v, str) else str(getattr(v, "name", v))
)
def test_every_path_is_refused_where_it_is_empty(
    command: str,
    parameter: click.Parameter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(arguments(command, parameter), "arbex") == 2
    said = capfd.readouterr().err
    assert "empty" in said
    assert "working folder" in said
    assert str(parameter.make_metavar(click.Context(root))) in said or parameter.opts[0] in said


def test_run_does_not_classify_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_miniature(tmp_path / "cpu")
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "private.png")
    monkeypatch.chdir(tmp_path)
    assert invoke(["run", "cpu", ""], "arbex") == 2
    assert capfd.readouterr().out == ""
    assert invoke(["run", "cpu", "."], "arbex") == 0
    assert "private.png" in capfd.readouterr().out


@pytest.mark.parametrize("data", ["folder:", "jaffe:", "ferplus,classes=7:"])
def test_a_layout_without_a_path_is_refused(data: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--data", data, "--out", str(tmp_path / "run")]
    assert invoke(command, "arbex") == 2
    assert f"'{data}' names no folder" in capfd.readouterr().err
