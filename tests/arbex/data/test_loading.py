"""Decoding into memory, and from disk where memory does not suffice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from arbex.data import loading
from arbex.data.folder import read_split
from arbex.data.loading import FaceDataset, batches
from arbex.errors import DataError


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Four images of two classes, one of them a text file."""
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (16, 16)).save(tmp_path / "train" / name / f"{i}.png")
    (tmp_path / "train" / "b" / "1.png").write_text("no image")
    return tmp_path


def test_a_set_that_does_not_fit_into_memory_gives_the_same_images(faces: Path, monkeypatch: pytest.MonkeyPatch):
    split = read_split(str(faces), "val")
    cached = FaceDataset(split, 32)
    monkeypatch.setattr(loading, "CACHE_LIMIT", 0)
    streamed = FaceDataset(split, 32)
    assert cached.cached
    assert not streamed.cached
    assert len(cached) == len(streamed) == len(split.samples)
    for i in (0, len(split.samples) - 1):
        for one, other in zip(cached[i], streamed[i], strict=True):
            assert torch.equal(one, other)
    assert cached[0][0].dtype == torch.uint8
    assert cached[0][0].shape == (3, 32, 32)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_of_a_streamed_set_is_named_in_one_sentence(
    workers: int, broken: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "CACHE_LIMIT", 0)
    images = FaceDataset(read_split(str(broken), "train"), 16)
    with pytest.raises(DataError) as caught:
        # Not forked: this process may have loaded libraries with threads.
        list(batches(DataLoader(images, 2, num_workers=workers, multiprocessing_context="spawn" if workers else None)))
    assert str(caught.value).startswith(f"{broken / 'train' / 'b' / '1.png'} cannot be read as an image")
    assert "Traceback" not in str(caught.value)


def test_a_damaged_image_of_a_cached_set_is_refused_at_once(broken: Path):
    with pytest.raises(DataError, match="b/1.png cannot be read"):
        FaceDataset(read_split(str(broken), "train"), 16)
