"""Reading a face image into the network's input. One function for training and for the device.

NumPy and Pillow only: a device imports this module without torch, so what trained is what runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from arbex.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MIN_SIDE = 8
"""Smaller images hold no face."""


def find_images(path: Path) -> list[Path]:
    """Returns the image files below a folder, sorted, or the file itself; hidden files are left out."""
    if path.is_file():
        return [path]
    found = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))


def to_rgb(image: Image.Image) -> Image.Image:
    """Turns any Pillow image upright (EXIF) and into 8-bit RGB; 16-bit gray is scaled, transparency dropped."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = np.asarray(image).astype(np.float64)
        image = Image.fromarray((np.clip(gray, 0, 65535) / 257).round().astype(np.uint8))
    return image.convert("RGB")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decodes an image file.

    Returns:
        uint8 RGB ``[H, W, 3]``.

    Raises:
        DataError: If the file is missing, not an image, damaged, or smaller than ``MIN_SIDE`` pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            pixels = np.asarray(to_rgb(image))
    except FileNotFoundError:
        raise DataError(f"The image {path} does not exist.", remedy="Check the path.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read as an image: {reason}.",
            allowed=f"Readable are {', '.join(FORMATS)}.",
            remedy="Replace or remove the file.",
        ) from error
    if min(pixels.shape[:2]) < MIN_SIDE:
        raise DataError(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]} pixels, too small to hold a face.",
            allowed=f"Each side needs at least {MIN_SIDE} pixels.",
            remedy="Replace or remove the file.",
        )
    return pixels


def resize(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resizes ``[H, W, 3]`` to ``[side, side, 3]`` with antialiased bilinear interpolation."""
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def load(path: Path, side: int) -> NDArray[np.uint8]:
    """Reads a file as the network sees it: uint8 RGB ``[side, side, 3]``."""
    return resize(read_image(path), side)
