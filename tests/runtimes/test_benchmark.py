"""Timing: each artifact in a process of its own, which runs nothing of the folder that the user stands in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from runtimes import open_bundle
from runtimes.benchmark import benchmark
from runtimes.registry import FORMATS
from tests.runtimes.miniature import ARTIFACT, seal, write_miniature
from tests.runtimes.planting import executed, plant

ARBEX = Path(sys.executable).parent / "arbex"


def bench(bundle: str, folder: Path, program: Sequence[str | Path] = (ARBEX,)) -> list[dict[str, Any]]:
    command = [*program, "bench", bundle, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_the_command_runs_nothing_that_lies_in_the_working_folder(tmp_path: Path) -> None:
    write_miniature(tmp_path / "cpu")
    plant(tmp_path, "json", "numpy", "onnxruntime")
    (row,) = bench("cpu", tmp_path)
    assert row["p50_ms"] > 0
    assert executed(tmp_path) == []


def test_the_command_runs_nothing_that_lies_in_a_bundle(tmp_path: Path) -> None:
    cpu = write_miniature(tmp_path / "cpu")
    plant(cpu, "json", "numpy", "onnxruntime")
    seal(cpu)  # a manifest of a stranger may list what it likes
    (row,) = bench(".", cpu)
    assert row["p50_ms"] > 0
    assert executed(tmp_path) == []


def test_python_m_keeps_its_working_folder_to_itself(tmp_path: Path) -> None:
    """Python puts it first for the command itself, as it does for every module; the runtime's process is free of it."""
    write_miniature(tmp_path / "cpu")
    plant(tmp_path, "onnxruntime")
    (row,) = bench("cpu", tmp_path, (sys.executable, "-m", "arbex"))
    assert row["p50_ms"] > 0
    assert executed(tmp_path) == []


def test_the_child_is_told_all_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that only the parent has registered is timed; the child neither opens the bundle nor looks it up."""
    bundle = open_bundle(write_miniature(tmp_path / "cpu"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.py").write_text(
        "from runtimes.onnx_runtime import OnnxRuntime\nclass Mine(OnnxRuntime):\n    name = 'mine'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    runtime = import_module("mine").Mine
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], runtime=runtime))
    (bundle.path / "manifest.json").unlink()
    (row,) = benchmark(bundle, threads=1)
    assert row.figures is not None
    assert row.figures.runtime == "mine"


def test_a_refusal_is_told_in_the_row(tmp_path: Path) -> None:
    bundle = open_bundle(write_miniature(tmp_path / "cpu"))
    (bundle.path / ARTIFACT).write_bytes(b"damaged")
    (row,) = benchmark(bundle, threads=1)
    assert row.figures is None
    assert "onnxruntime refuses" in row.why
    told = row.to_json()
    assert (told["runtime"], told["p50_ms"]) == ("none", None)
