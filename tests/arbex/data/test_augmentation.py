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


def test_normalize_is_pixel_over_255_minus_mean_over_std() -> None:
    p = Preprocessing(4, mean=(0.5, 0.0, 0.25), std=(0.5, 1.0, 0.25))
    pixels = torch.tensor([255, 51, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    out = Normalize(p)(pixels).flatten()
    assert torch.allclose(out, torch.tensor([1.0, 0.2, -1.0]))
