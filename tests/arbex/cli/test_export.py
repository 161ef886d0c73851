"""``arbex export`` and ``arbex calibrate`` refuse to destroy what is not theirs, before any work starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtimes.miniature import write_miniature

INVOKE = """
import sys
from arbex.cli import invoke
code = invoke(sys.argv[1:], "arbex")
print(code, "torch" in sys.modules)
"""


def refusal(*arguments: str | Path) -> str:
    """Returns the error of a command that ends with 2 before torch is loaded."""
    command = [sys.executable, "-c", INVOKE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"], done
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    return error


@pytest.mark.parametrize(("out", "kept"), [("best.json", "best.safetensors"), ("config.json", "config.json")])
def test_calibrate_keeps_the_files_of_a_run(out: str, kept: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"schema": 1}')
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    said = refusal("calibrate", tmp_path, "--data", tmp_path, "--out", tmp_path / out)
    assert f"{tmp_path / kept} " in said
    assert "would be overwritten" in said
    assert (tmp_path / "config.json").read_text() == '{"schema": 1}'
    assert (tmp_path / "best.safetensors").read_bytes() == b"weights"
    assert len(list(tmp_path.iterdir())) == 2


def test_export_keeps_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "manifest.json").write_text('{"name": "a web app"}')
    said = refusal("export", "/nowhere", "--target", "android", "--target", "cpu", "--out", tmp_path)
    assert f"{tmp_path / 'cpu'} already holds something that is not a bundle" in said
    assert [file.name for file in tmp_path.rglob("*.json")] == ["manifest.json"]


def test_export_names_the_strange_file_in_a_bundle(tmp_path: Path) -> None:
    write_miniature(tmp_path / "cpu")
    (tmp_path / "cpu" / "notes.txt").write_text("mine")
    said = refusal("export", "/nowhere", "--target", "cpu", "--out", tmp_path)
    assert f"{tmp_path / 'cpu'} holds notes.txt, which does not belong to the bundle" in said
    assert (tmp_path / "cpu" / "notes.txt").read_text() == "mine"
