"""Augmentation and normalization on batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from arbex.data import augmentation
from arbex.data.augmentation import (
    Normalize,
    augment,
    change_colors,
    change_view,
    erase,
    shift_and_mirror,
)
from arbex.spec import Preprocessing

STRENGTHS = ("heavy", "light", "none")


def noise(count: int, side: int = 32) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_augmentation_keeps_the_size_and_follows_the_generator(strength: str) -> None:
    images = noise(8)
    before = images.clone()
    torch.manual_seed(1)
    first = augment(images, strength, erasing=0.5)
    second = augment(images, strength, erasing=0.5)
    torch.manual_seed(1)
    assert torch.equal(augment(images, strength, erasing=0.5), first)
    assert first.shape == (8, 3, 32, 32)
    assert first.dtype == torch.float32
    assert not torch.equal(first, second)
    assert torch.equal(images, before)


def test_without_augmentation_images_stay_as_they_are() -> None:
    images = noise(4)
    assert torch.equal(augment(images, "none"), images.float())


def two_dots(distance: int, count: int, side: int = 96) -> Tensor:
    """Black images with two bright dots beside each other, around the center."""
    image = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    for x in ((side - distance) // 2, (side + distance) // 2):
        image[:, :, side // 2 - 2 : side // 2 + 2, x - 2 : x + 2] = 255
    return image


def distances(images: Tensor) -> Tensor:
    """Returns the distance of the dots in each image, from the spread of its light."""
    light = images[:, 0].float().clamp_min(0)
    light = torch.where(light > 60, light, 0.0)
    total = light.sum((1, 2))
    place = torch.arange(light.shape[-1], dtype=torch.float32)
    spread = torch.zeros(len(images))
    for dim in (1, 2):
        along = light.sum(dim)
        center = (along * place).sum(1) / total
        spread = spread + (along * (place - center[:, None]).square()).sum(1) / total
    return 2 * spread.sqrt()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_training_shows_faces_on_average_as_large_as_the_device_does(strength: str) -> None:
    torch.manual_seed(0)
    images = two_dots(40, 4000)
    assert distances(augment(images, strength)).mean().item() == pytest.approx(distances(images[:1]).item(), rel=0.01)


def test_heavy_augmentation_moves_turns_scales_and_mirrors() -> None:
    torch.manual_seed(0)
    found = distances(change_view(two_dots(40, 500).float()))
    assert found.min() < 0.93 * found.mean()
    assert found.max() > 1.07 * found.mean()
    half = torch.zeros(400, 3, 32, 32)
    half[..., :10] = 255.0  # the left edge is bright
    varied = change_view(half)
    bright_left = varied[:, 0, :, :5].mean((1, 2)) > varied[:, 0, :, -5:].mean((1, 2))
    assert 150 < int(bright_left.sum()) < 250
    turned = (varied[:, 0].diff(dim=1).abs().amax((1, 2)) > 1).float().mean()
    assert 0.4 < float(turned) < 0.6
    columns = varied[bright_left][:, 0].mean((1, 2))
    assert float(columns.std()) > 2  # moved


def test_light_augmentation_shifts_by_whole_pixels_and_mirrors() -> None:
    torch.manual_seed(0)
    images = noise(128, 24).float()
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")  # a twelfth of 24
    found = set()
    for original, one in zip(padded, shift_and_mirror(images), strict=True):
        for mirrored in (False, True):
            for down in range(5):
                for right in range(5):
                    part = original[:, down : down + 24, right : right + 24]
                    if torch.equal(one, part.flip(2) if mirrored else part):
                        found.add((mirrored, down, right))
    assert len(found) > 40  # of 50
    assert {key[0] for key in found} == {True, False}


def test_colors_change_by_brightness_contrast_and_saturation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the definitions, one after the other."""
    monkeypatch.setattr(augmentation, "COLORED", 1.0)
    factors = iter([1.2, 0.8, 0.9])
    monkeypatch.setattr(augmentation, "around", lambda mean, most, count: torch.full((count,), next(factors)))
    images = noise(2).float()
    expected = images * 1.2
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    luminance = (expected * weights).sum(1, keepdim=True)
    expected = 0.8 * (expected - luminance.mean((2, 3), keepdim=True)) + luminance.mean((2, 3), keepdim=True)
    expected = 0.9 * expected + 0.1 * (expected * weights).sum(1, keepdim=True)
    torch.testing.assert_close(change_colors(images), expected, rtol=1e-4, atol=1e-3)


def test_some_images_keep_their_colors() -> None:
    torch.manual_seed(0)
    images = noise(200).float()
    same = (change_colors(images) - images).abs().amax((1, 2, 3)) < 1e-2
    assert 50 < int(same.sum()) < 110


def test_what_is_erased_is_a_gray_rectangle() -> None:
    torch.manual_seed(0)
    images = torch.zeros(300, 3, 32, 32)
    erased = erase(images, 0.5)
    gray = erased[:, 0] == 127.5
    sizes = gray.sum((1, 2))
    assert 110 < int((sizes > 0).sum()) < 190
    for one, size in zip(gray, sizes, strict=True):
        assert int(one.any(0).sum()) * int(one.any(1).sum()) == int(size)  # a rectangle
    areas = sizes[sizes > 0] / 32**2
    assert float(areas.max()) < 0.22
    assert 0.08 < float(areas.mean()) < 0.14


def test_normalize_is_pixel_over_255_minus_mean_over_std() -> None:
    p = Preprocessing(4, mean=(0.5, 0.0, 0.25), std=(0.5, 1.0, 0.25))
    pixels = torch.tensor([255, 51, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    out = Normalize(p)(pixels).flatten()
    assert torch.allclose(out, torch.tensor([1.0, 0.2, -1.0]))
