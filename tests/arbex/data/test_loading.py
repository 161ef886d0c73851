"""Decoding into memory, and from disk where memory does not suffice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from arbex.data import loading
from arbex.data.loading import FaceDataset, log_unreadable
from arbex.data.splits import read_split
from arbex.errors import DataError
from arbex.progress import SILENT


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Four images of two classes, one of them a text file."""
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (16, 16)).save(tmp_path / "train" / name / f"{i}.png")
    (tmp_path / "train" / "b" / "1.png").write_text("no image")
    return tmp_path


def test_a_set_that_does_not_fit_into_memory_gives_the_same_images_from_disk(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = read_split(str(faces), "val")
    kept = FaceDataset(split, 32)
    monkeypatch.setenv("ARBEX_CACHE", str(tmp_path / "cache"))
    stored = FaceDataset(split, 32, memory_limit=0)
    assert len(kept) == len(stored) == len(split.samples)
    for i in (0, len(split.samples) - 1):
        for one, other in zip(kept[i], stored[i], strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    assert stored[0][0].dtype == torch.uint8
    assert stored[0][0].shape == (3, 32, 32)


def test_the_cache_is_found_again_and_belongs_to_its_images(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBEX_CACHE", str(tmp_path / "cache"))
    split = read_split(str(broken), "train")
    first = FaceDataset(split, 16, most_unreadable=0.5, memory_limit=0)
    decoded: list[object] = []

    def decode_all(*given: object) -> dict[int, str]:
        decoded.append(given)
        return {}

    monkeypatch.setattr(loading, "decode_all", decode_all)
    again = FaceDataset(split, 16, most_unreadable=0.5, memory_limit=0)
    assert not decoded
    assert [(s.file, reason) for s, reason in again.unreadable] == [(s.file, reason) for s, reason in first.unreadable]
    FaceDataset(split, 24, memory_limit=0)
    Image.new("RGB", (17, 17)).save(broken / "train" / "a" / "0.png")
    FaceDataset(read_split(str(broken), "train"), 16, memory_limit=0)
    assert len(decoded) == 2
    assert not list((tmp_path / "cache").glob("*.part"))


def test_another_folder_with_files_of_the_same_names_and_sizes_has_images_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBEX_CACHE", str(tmp_path / "cache"))

    def pixel(folder: str, gray: int) -> int:
        for name in ("a", "b"):
            (tmp_path / folder / "train" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (gray, gray, gray)).save(tmp_path / folder / "train" / name / "0.bmp")
        images = FaceDataset(read_split(str(tmp_path / folder), "train"), 16, memory_limit=0)
        return int(images[0][0][0, 0, 0])

    assert pixel("one", 10) == 10
    assert pixel("other", 20) == 20
    assert pixel("one", 30) == 30  # written again


def test_a_cache_without_room_is_refused_before_anything_is_decoded(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("arbex.data.cache.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DataError, match="need 0.0 GB.*ARBEX_CACHE"):
        FaceDataset(read_split(str(broken), "train"), 16, most_unreadable=0.5, memory_limit=0)


def test_a_cache_that_cannot_be_made_is_named(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARBEX_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="file cannot be made: File exists. Set ARBEX_CACHE to a folder"):
        FaceDataset(read_split(str(broken), "train"), 16, most_unreadable=0.5, memory_limit=0)


def test_a_name_that_is_not_utf8_is_listed(broken: Path, tmp_path: Path) -> None:
    (broken / "train" / "b" / "1.png").rename(broken / "train" / "b" / os.fsdecode(b"Andr\xe9.png"))
    log = tmp_path / "unreadable.log"
    log_unreadable(FaceDataset(read_split(str(broken), "train"), 16, most_unreadable=0.5), log, SILENT)
    assert b"Andr\xe9.png" in log.read_bytes()


def test_images_that_cannot_be_read_are_left_out_up_to_a_share(broken: Path) -> None:
    split = read_split(str(broken), "train")
    with pytest.raises(DataError, match=r"1 of the 4 images .*cannot be read; the first: .*b/1.png.*1.00%.*unreadable"):
        FaceDataset(split, 16)
    images = FaceDataset(split, 16, most_unreadable=0.25)
    assert len(images) == 3
    assert images.labels.tolist() == [0, 0, 1]
    assert [position for _, _, position in (images[i] for i in range(3))] == [0, 1, 2]
    ((sample, reason),) = images.unreadable
    assert sample.file.name == "1.png"
    assert "cannot be read as an image" in reason


def test_a_class_of_which_nothing_can_be_read_is_refused(broken: Path) -> None:
    (broken / "train" / "b" / "0.png").write_text("no image either")
    with pytest.raises(DataError, match=r"No image of the class 'b' of .* \(train\) can be read"):
        FaceDataset(read_split(str(broken), "train"), 16, most_unreadable=0.5)


def test_what_is_left_out_is_named_in_a_file(broken: Path, tmp_path: Path) -> None:
    log = tmp_path / "unreadable-train.log"
    log_unreadable(FaceDataset(read_split(str(broken), "train"), 16, most_unreadable=0.5), log, SILENT)
    assert log.read_text().startswith(str(broken / "train" / "b" / "1.png") + "\t")
    (broken / "train" / "b" / "1.png").unlink()
    log_unreadable(FaceDataset(read_split(str(broken), "train"), 16), log, SILENT)
    assert not log.exists()
