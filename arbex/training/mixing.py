"""Mixing pairs of images and their targets: mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def share_of_first(alpha: float) -> float:
    """Returns the share of the first image of every pair, drawn from Beta(alpha, alpha)."""
    concentration = torch.tensor(alpha)
    return float(torch.distributions.Beta(concentration, concentration).sample())


def mixup(images: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Blends each image with another one of the batch, and the targets in the same proportion.

    Args:
        images: ``[B, 3, S, S]``.
        targets: ``[B, N]``.
        share: Share of the first image of a pair, in [0, 1].
    """
    other = torch.randperm(len(images), device=images.device)
    return images.lerp(images[other], 1 - share), targets.lerp(targets[other], 1 - share)


def cutmix(images: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Replaces a rectangle of each image by that of another one, and mixes the targets by area.

    Args:
        images: ``[B, 3, S, S]``.
        targets: ``[B, N]``.
        share: Share of the area that stays, in [0, 1]; at the edge of the image, more of it stays.
    """
    side = images.shape[-1]
    half = side * math.sqrt(1 - share) / 2
    x, y = (torch.rand(2) * side).tolist()
    left, right, top, bottom = (max(0, min(side, round(v))) for v in (x - half, x + half, y - half, y + half))
    other = torch.randperm(len(images), device=images.device)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[other, :, top:bottom, left:right]
    kept = 1 - (right - left) * (bottom - top) / side**2
    return mixed, targets.lerp(targets[other], 1 - kept)


def mix(images: Tensor, targets: Tensor, *, mixup_alpha: float, cutmix_alpha: float) -> tuple[Tensor, Tensor]:
    """Mixes a batch in one of the ways whose alpha is not 0; of two, each has half a chance.

    Args:
        images: ``[B, 3, S, S]``.
        targets: ``[B, N]``.
        mixup_alpha: Alpha of mixup: 0 for none; the larger, the more even the shares.
        cutmix_alpha: Alpha of CutMix, likewise.
    """
    if cutmix_alpha and (not mixup_alpha or float(torch.rand(1)) < 0.5):
        return cutmix(images, targets, share_of_first(cutmix_alpha))
    if mixup_alpha:
        return mixup(images, targets, share_of_first(mixup_alpha))
    return images, targets
