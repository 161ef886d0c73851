"""Augmentation and normalization on batches."""

from __future__ import annotations

import torch

from arbex.data.augmentation import Normalize, augmentation, training_side
from arbex.spec import Preprocessing


def test_training_images_are_an_eighth_larger() -> None:
    assert training_side(224) == 256
    assert training_side(64) == 73


def test_augmentation_crops_and_follows_the_generator() -> None:
    augment = augmentation(32)
    images = torch.rand(8, 3, 37, 37)
    torch.manual_seed(1)
    first = augment(images)
    second = augment(images)
    torch.manual_seed(1)
    assert first.shape == (8, 3, 32, 32)
    assert torch.equal(augment(images), first)
    assert not torch.equal(first, second)
    assert torch.isfinite(first).all()


def test_without_heavy_augmentation_only_the_center_is_cut_out() -> None:
    images = torch.rand(2, 3, 37, 37)
    cropped = augmentation(31, heavy=False)(images)
    assert torch.allclose(cropped, images[:, :, 3:34, 3:34], atol=1e-6)


def test_heavy_augmentation_changes_more_than_the_place() -> None:
    """A crop alone would leave every value of the images as it was."""
    images = torch.rand(16, 3, 37, 37)
    torch.manual_seed(0)
    augmented = augmentation(32)(images)
    same = [bool(torch.isin(one, original).all()) for one, original in zip(augmented, images, strict=True)]
    assert 0 < sum(same) < len(same) / 2  # each change has a probability of its own


def test_normalize_is_pixel_over_255_minus_mean_over_std() -> None:
    p = Preprocessing(4, mean=(0.5, 0.0, 0.25), std=(0.5, 1.0, 0.25))
    pixels = torch.tensor([255, 51, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    out = Normalize(p)(pixels).flatten()
    assert torch.allclose(out, torch.tensor([1.0, 0.2, -1.0]))
