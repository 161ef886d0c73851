"""Pictures of other sizes in the golden vectors show preprocessing that has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.golden_images import SIZES, pictures
from runtimes import open_bundle
from runtimes.golden import Golden, changed_preprocessing, pack_golden, read_golden
from runtimes.verification import verify_bundle
from tests.runtimes.miniature import SIDE, answers, seal, write_miniature

IMAGES = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)


def golden(side: int) -> Golden:
    small = np.zeros((1, side, side, 3), np.uint8)
    return Golden(images=small, expected=answers(small), pictures=pictures(side))


def test_pictures_are_larger_smaller_wide_and_tall_and_survive_the_file(tmp_path: Path) -> None:
    given = golden(64)
    (tmp_path / "golden.npz").write_bytes(pack_golden(given))
    found = read_golden(tmp_path / "golden.npz")
    assert len(found.pictures) == len(SIZES) == 8
    for before, after in zip(given.pictures, found.pictures, strict=True):
        assert np.array_equal(before.original, after.original)
        assert np.array_equal(before.pixels, after.pixels)
        assert after.pixels.shape == (64, 64, 3)
    ratios = [p.original.shape[1] / p.original.shape[0] for p in found.pictures]
    assert min(ratios) < 0.75
    assert max(ratios) > 1.4


def nearest(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST))


def without_antialiasing(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Returns the four neighbors' mean of every sample, as OpenCV and most GPUs do by default."""
    matrix = (pixels.shape[1] / side, 0, 0, 0, pixels.shape[0] / side, 0)
    image = Image.fromarray(pixels)
    return np.asarray(image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def bgr(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))[:, :, ::-1]


def center_crop(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = pixels[top : top + short, left : left + short]
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("side", [48, 112, 224])
@pytest.mark.parametrize("resize", [nearest, without_antialiasing, bgr, center_crop], ids=lambda f: f.__name__)
def test_preprocessing_that_was_changed_is_found(
    resize: Callable[..., NDArray[np.uint8]], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = golden(side)
    assert changed_preprocessing(given, side) == ""
    monkeypatch.setattr("runtimes.golden.resize", resize)
    assert "Preprocessing makes other pixels than at export" in changed_preprocessing(given, side)


def test_a_bundle_is_refused_where_preprocessing_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_miniature(tmp_path / "cpu")
    content = Golden(images=IMAGES, expected=answers(IMAGES), pictures=pictures(SIDE))
    (folder / "golden.npz").write_bytes(pack_golden(content))
    seal(folder)
    assert verify_bundle(open_bundle(folder)).passed
    monkeypatch.setattr("runtimes.golden.resize", nearest)
    report = verify_bundle(open_bundle(folder))
    assert not report.passed
    assert "Preprocessing makes other pixels" in report.why
