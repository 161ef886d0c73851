"""Normalization, and augmentation (sections 4.2.1 and 4.3), of batches of images.

Every image is shifted, turned, scaled and mirrored in one step, and its colors change in another: a chain of
operations, each over all pixels, takes longer than the network of a small preset (docs/decisions/0025). On average, a
face is as large as the device sees it (docs/decisions/0026).
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.spec import Preprocessing

SHIFT: Final = 1 / 12
"""Largest shift in each direction, relative to the side of the image."""

DEGREES: Final = 10.0
"""Largest rotation in each direction."""

ZOOM: Final = 0.1
"""Largest change of scale in each direction; the mean is 1."""

BRIGHTNESS, CONTRAST, SATURATION = 0.25, 0.25, 0.2
"""Largest change of a factor in each direction; the mean is 1."""

NOISE: Final = 0.02 * 255
"""Standard deviation of the noise."""

COLORED, NOISY = 0.6, 0.3
"""Shares of images with other colors, and with noise."""

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance of ITU-R BT.601."""

ERASED_AREA = (0.02, 0.2)
"""Smallest and largest share of an image that is erased."""

ERASED_ASPECT = (0.3, 3.3)
"""Smallest and largest ratio of the sides of what is erased (arXiv 1708.04896)."""

GRAY: Final = 127.5
"""What takes the place of what is erased."""


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


def augment(images: Tensor, strength: str, *, erasing: float = 0.0) -> Tensor:
    """Varies images at random, with torch's global generator.

    Args:
        images: uint8 ``[B, 3, S, S]``.
        strength: ``heavy`` shifts, turns, scales and mirrors, changes colors and adds noise; ``light`` shifts by whole
            pixels and mirrors; ``none`` leaves images as they are.
        erasing: Share of images of which a rectangle becomes gray.

    Returns:
        float32 ``[B, 3, S, S]`` in 0..255; heavy augmentation leaves that range by up to half of it, where no device
        follows, but cuts nothing off.
    """
    varied = images.float()
    if strength == "heavy":
        varied = add_noise(change_colors(change_view(varied)))
    elif strength == "light":
        varied = shift_and_mirror(varied)
    return erase(varied, erasing) if erasing else varied


def around(mean: float, most: float, count: int) -> Tensor:
    """Returns ``count`` random numbers between ``mean - most`` and ``mean + most``."""
    return mean + most * (2 * torch.rand(count) - 1)


def happens(share: float, count: int) -> Tensor:
    """Returns for each of ``count`` images whether something happens to it, which it does to a share of them."""
    return torch.rand(count) < share


def shift_and_mirror(images: Tensor) -> Tensor:
    """Shifts float images ``[B, 3, S, S]`` by whole pixels and mirrors half of them; edges are repeated."""
    side = images.shape[-1]
    most = round(SHIFT * side)
    padded = F.pad(images, (most, most, most, most), mode="replicate")
    corners = torch.randint(0, 2 * most + 1, (len(images), 2)).tolist()
    shifted = torch.stack([padded[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(corners)])
    mirrored = happens(0.5, len(images)).to(images.device)
    return torch.where(mirrored[:, None, None, None], shifted.flip(3), shifted)


def change_view(images: Tensor) -> Tensor:
    """Shifts and scales float images ``[B, 3, S, S]``, and mirrors and turns half of them.

    Beyond the edge of an image, the edge is repeated.
    """
    count = len(images)
    angle = torch.where(happens(0.5, count), around(0, DEGREES, count), 0.0) * (math.pi / 180)
    size = 1 / around(1, ZOOM, count)  # of what is seen, relative to the image
    mirror = torch.where(happens(0.5, count), -1.0, 1.0)
    right, down = around(0, 2 * SHIFT, count), around(0, 2 * SHIFT, count)  # the image spans from -1 to 1
    across = torch.stack([mirror * size * angle.cos(), -mirror * size * angle.sin(), right], 1)
    along = torch.stack([size * angle.sin(), size * angle.cos(), down], 1)
    places = torch.stack([across, along], 1).to(images.device)  # [B, 2, 3]
    grid = F.affine_grid(places, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def change_colors(images: Tensor) -> Tensor:
    """Changes brightness, contrast and saturation of float images ``[B, 3, S, S]``; some remain as they are.

    All three are one linear map of the colors of an image: ``c b (s I + (1 - s) L) x + (1 - c) b m``, with the factors
    b, c and s of brightness, contrast and saturation, the luminance L, and m its mean over the image.
    """
    count, colored = len(images), happens(COLORED, len(images))
    most = (BRIGHTNESS, CONTRAST, SATURATION)
    b, c, s = (torch.where(colored, around(1, change, count), 1.0).to(images.device)[:, None] for change in most)
    weights = torch.tensor(LUMINANCE, device=images.device)
    luminance = weights.expand(3, 3)  # every row
    matrix = (c * b)[..., None] * (s[..., None] * torch.eye(3, device=images.device) + (1 - s)[..., None] * luminance)
    mean = (images.mean((2, 3)) @ weights)[:, None]  # [B, 1]
    offset = ((1 - c) * b * mean)[..., None].expand(-1, 3, 1)
    return torch.baddbmm(offset, matrix, images.flatten(2)).view_as(images)


def add_noise(images: Tensor) -> Tensor:
    """Adds noise to some of the float images ``[B, 3, S, S]``, in place."""
    (noisy,) = happens(NOISY, len(images)).nonzero(as_tuple=True)
    if len(noisy):
        images[noisy] += NOISE * torch.randn(len(noisy), *images.shape[1:], device=images.device)
    return images


def erase(images: Tensor, share: float) -> Tensor:
    """Makes a random rectangle of some of the float images ``[B, 3, S, S]`` gray, in place (arXiv 1708.04896)."""
    side = images.shape[-1]
    for which in happens(share, len(images)).nonzero().flatten().tolist():
        area = side**2 * float(torch.empty(1).uniform_(*ERASED_AREA))
        aspect = math.exp(float(torch.empty(1).uniform_(*map(math.log, ERASED_ASPECT))))
        height, width = (max(1, min(side, round(math.sqrt(length)))) for length in (area * aspect, area / aspect))
        top, left = (int(torch.randint(0, side - length + 1, (1,))) for length in (height, width))
        images[which, :, top : top + height, left : left + width] = GRAY
    return images
