"""Normalization, and heavy augmentation (sections 4.2.1 and 4.3), of batches of images."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from arbex.spec import Preprocessing

OVERSIZE = 256 / 224
"""Side of training images relative to the network's input, before the random crop."""


def training_side(image_size: int) -> int:
    """Returns the side in pixels to which training images are resized before the random crop (224 -> 256)."""
    return round(image_size * OVERSIZE)


class Normalize(nn.Module):
    """``(x / 255 - mean) / std`` on uint8 or float images ``[B, 3, S, S]`` in 0..255."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        """Stores mean and standard deviation as buffers."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Returns normalized float32 images."""
        return (images.float() / 255 - self.mean) / self.std


def augmentation(image_size: int, *, heavy: bool = True, erasing: float = 0.0) -> nn.Module:
    """Returns a module from images ``[B, 3, T, T]`` in [0, 1] to ``[B, 3, image_size, image_size]``.

    Random crop, horizontal flip, rotation, color and noise; values may leave [0, 1] slightly. Random numbers come from
    torch's global generator. Unless ``heavy``, the module only crops the center. A rectangle of a share of ``erasing``
    of the images becomes gray (arXiv 1708.04896).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing kornia uses deprecated parts of torch
        import kornia.augmentation as K

        erase = [K.RandomErasing(scale=(0.02, 0.2), value=0.5, p=erasing)] if erasing else []
        if not heavy:
            return nn.Sequential(K.CenterCrop((image_size, image_size)), *erase)
        return nn.Sequential(
            K.RandomRotation(degrees=10.0, p=0.5),
            K.RandomCrop((image_size, image_size)),
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJitter(0.25, 0.25, 0.2, 0.02, p=0.6),
            K.RandomGaussianNoise(std=0.02, p=0.3),
            *erase,
        )
