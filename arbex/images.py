"""Reading a face image into the network's input. One function for training and for the device.

NumPy and Pillow only: a device imports this module without torch, so what trained is what runs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
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
    """Returns the image files below a folder, sorted, or the file itself; hidden files and folders are left out.

    Raises:
        DataError: If a folder cannot be read: its images are not left out in silence.
    """
    return [path] if path.is_file() else sorted(images_below(path))


def images_below(folder: Path) -> Iterator[Path]:
    """Yields the image files below a folder; links to folders are not followed."""
    for entry in list_folder(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from images_below(Path(entry.path))
        elif Path(entry.name).suffix.lower() in SUFFIXES and is_there(entry) and entry.is_file():
            yield Path(entry.path)


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Returns what lies in a folder, sorted by name.

    Raises:
        DataError: If this user may not list it, or may not open what lies in it.
    """
    try:
        with os.scandir(folder) as entries:
            check_readable(folder)
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error.strerror) from error


def is_there(entry: os.DirEntry[str]) -> bool:
    """Tells whether an entry of a folder is no link that leads nowhere.

    Raises:
        DataError: If it leads to where this user may not look.
    """
    try:
        return not entry.is_symlink() or bool(entry.stat())
    except PermissionError as error:
        raise unreadable(Path(entry.path), error.strerror) from error
    except OSError:  # nothing is there, or the link leads to itself
        return False


def check_readable(folder: Path) -> None:
    """Refuses a folder that exists and whose files this user may not list or open.

    Raises:
        DataError: If it is such a folder.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise unreadable(folder, os.strerror(errno.EACCES))


def unreadable(path: Path, reason: str | None) -> DataError:
    """Returns the error that says that a folder of images cannot be read."""
    return DataError(
        f"{path} cannot be read: {reason or 'the system does not say why'}.",
        remedy="Give this user the right to read it, or move it out of the data.",
    )


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
