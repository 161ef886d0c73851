"""A table replaces an earlier table and no other file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from arbex.errors import InputError
from calibration import CalibrationTable, Origin
from calibration.histogram import Histogram
from calibration.statistics import TensorStatistics
from calibration.table_files import check_place


def table(images: int = 2, name: str = "relu") -> CalibrationTable:
    histogram = Histogram(0, 0, np.array([images, images], dtype=np.int64))
    seen = TensorStatistics(0.0, 1.0, 0, images << 32, images, histogram)
    return CalibrationTable.derive({name: seen}, Origin("c", "p", "g", {"torch": "2"}), ("s",), images)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_table_replaces_a_table(tmp_path: Path) -> None:
    table(2).save(tmp_path / "t.json")
    table(3).save(tmp_path / "t.json")
    assert CalibrationTable.load(tmp_path / "t.json").images == 3


def test_the_weights_next_to_which_a_table_would_lie_are_kept(tmp_path: Path) -> None:
    save_file({"head.weight": np.zeros(3, np.float32)}, tmp_path / "best.safetensors")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"best\.safetensors .* overwritten.*Give another"):
        table().save(tmp_path / "best.json")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "content", ['{"schema": 1, "preset": "tiny"}', '{"tensors": {}}', '["schema", "tensors"]', "", "\udcff", "notes"]
)
def test_another_file_is_kept(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"config\.json is not a calibration table.*Give another"):
        table().save(tmp_path / "config.json")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("tensors", [{"relu": np.zeros(3, np.float32)}, {"other": np.zeros(3, np.int64)}, None])
def test_a_file_that_is_not_the_histograms_of_the_table_is_kept(
    tensors: dict[str, np.ndarray] | None, tmp_path: Path
) -> None:
    table().save(tmp_path / "t.json")
    if tensors is None:
        (tmp_path / "t.safetensors").write_bytes(b"other")
    else:
        save_file(tensors, tmp_path / "t.safetensors")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"t\.safetensors .* overwritten"):
        table().save(tmp_path / "t.json")
    assert contents(tmp_path) == before


def test_a_table_that_was_interrupted_between_its_files_is_replaced(tmp_path: Path) -> None:
    """New histograms and old ranges: the table is refused when it is read, and may be replaced."""
    table(2).save(tmp_path / "t.json")
    old = (tmp_path / "t.json").read_bytes()
    table(3).save(tmp_path / "t.json")
    (tmp_path / "t.json").write_bytes(old)
    table(4).save(tmp_path / "t.json")
    assert CalibrationTable.load(tmp_path / "t.json").images == 4


def test_a_table_whose_histograms_are_missing_is_replaced(tmp_path: Path) -> None:
    table(2).save(tmp_path / "t.json")
    (tmp_path / "t.safetensors").unlink()
    table(3).save(tmp_path / "t.json")
    assert CalibrationTable.load(tmp_path / "t.json").images == 3


def test_a_table_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    table(2).save(tmp_path / "t.json")
    value = json.loads((tmp_path / "t.json").read_text())
    (tmp_path / "t.json").write_text(json.dumps({**value, "schema": 1}))
    table(3).save(tmp_path / "t.json")
    assert CalibrationTable.load(tmp_path / "t.json").images == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t.safetensors", "Allowed: FILE.json"),
        ("nowhere/t.json", "does not exist"),
        ("folder.json", "is not a calibra"),
    ],
)
def test_a_place_that_cannot_hold_a_table_is_refused(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match=words):
        check_place(tmp_path / name)
