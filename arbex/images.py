"""Reading images as input of the network, in the same way for training and on the device.

NumPy and Pillow only: a device imports this module without torch, so its preprocessing is that of the training.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arbex.errors import DataError, reason
from arbex.spec import SPLITS

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".tif", ".tiff", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
FOREIGN = (".gif", ".heic", ".heif", ".avif", ".jp2")
"""Suffixes of images of other formats: they are found, and then named as files that cannot be read."""

ORIENTATION = 0x0112
"""EXIF tag of the orientation."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each orientation upright."""

MIN_SIDE = 8
"""Smallest side of an image in pixels; a smaller one cannot show a face."""

CROP_MARGIN = 0.15
"""Margin of the square around a face, on each side, as a share of the longer side of its box; as in aligned sets."""

Box = tuple[int, int, int, int]
"""Left edge, top edge, width and height of a face in an image, in pixels."""


def find_images(path: Path) -> list[Path]:
    """Returns the image files below a folder, sorted, or the file itself; hidden files and folders are left out.

    Images of formats that cannot be read are among them, so that they are not left out in silence.

    Raises:
        DataError: If a folder cannot be read; its images are never skipped silently.
    """
    return [path] if path.is_file() else sorted(images_below(path))


def images_below(folder: Path) -> Iterator[Path]:
    """Yields the image files below a folder; links to folders are not followed."""
    for entry in list_folder(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from images_below(Path(entry.path))
        elif has_suffix(entry.name) and is_there(entry) and entry.is_file():
            yield Path(entry.path)


def has_suffix(name: str) -> bool:
    """Tells whether a file has the name of an image, of any format."""
    return Path(name).suffix.lower() in (*SUFFIXES, *FOREIGN)


def name_in_table(text: str) -> str:
    """Returns a path relative to a data set as tables and folders name it alike.

    Tables from Windows have backslashes, and macOS takes letters with accents apart.
    """
    return unicodedata.normalize("NFC", text.strip().replace("\\", "/")).removeprefix("./")


def split_folders(root: Path) -> dict[str, Path]:
    """Returns the folder of each split that a data set has one of.

    Raises:
        DataError: If the folder cannot be read, or there are two for one split.
    """
    found: dict[str, Path] = {}
    for entry in list_folder(root):
        split = next((split for split, names in SPLITS.items() if entry.name.lower() in names), None)
        if split is None or not (is_there(entry) and entry.is_dir()):
            continue
        if split in found:
            raise DataError(
                f"{root} has two folders for the split {split!r}: {found[split].name} and {entry.name}.",
                remedy="Put the images into one of them, or give the other one another name.",
            )
        found[split] = Path(entry.path)
    return {split: found[split] for split in SPLITS if split in found}


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Returns the entries of a folder, sorted by name.

    Raises:
        DataError: If this user may not list the folder, or may not open what is in it.
    """
    try:
        with os.scandir(folder) as entries:
            check_readable(folder)
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error.strerror) from error


def is_there(entry: os.DirEntry[str]) -> bool:
    """Tells whether an entry of a folder exists, which a broken link does not.

    Raises:
        DataError: If it is a link into a folder that this user may not read.
    """
    try:
        return not entry.is_symlink() or bool(entry.stat())
    except PermissionError as error:
        raise unreadable(Path(entry.path), error.strerror) from error
    except OSError:  # a broken link, or one that leads to itself
        return False


def check_readable(folder: Path) -> None:
    """Refuses an existing folder whose files this user may not list or open.

    Raises:
        DataError: If this user lacks the permission.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise unreadable(folder, os.strerror(errno.EACCES))


def unreadable(path: Path, reason: str | None) -> DataError:
    """Returns the error for a folder of images that cannot be read."""
    return DataError(
        f"{path} cannot be read: {reason or 'unknown reason'}.",
        remedy="Give this user permission to read it, or move it out of the data.",
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to upright 8-bit RGB: EXIF rotation is applied, 16-bit gray scaled, transparency dropped."""
    # ImageOps.exif_transpose also writes the other tags anew, and fails where one of them is damaged.
    turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I;16") or image.mode == "I":
        gray = np.asarray(image).astype(np.float64)
        image = Image.fromarray((np.clip(gray, 0, 65535) / 257).round().astype(np.uint8))
    return image.convert("RGB")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decodes an image file.

    Returns:
        uint8 RGB ``[H, W, 3]``.

    Raises:
        DataError: If the file is missing, damaged, not an image of a known format, or smaller than ``MIN_SIDE`` pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            pixels = np.asarray(to_rgb(image))
    except FileNotFoundError:
        raise DataError(f"The image {path} does not exist.", remedy="Check the path.") from None
    except Exception as error:  # Pillow raises many kinds of them for damaged files
        raise DataError(
            f"{path} cannot be read as an image: {reason(error)}.",
            allowed=f"Allowed: {', '.join(FORMATS)}.",
            remedy="Replace or remove the file.",
        ) from error
    if min(pixels.shape[:2]) < MIN_SIDE:
        raise DataError(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]} pixels, too small to show a face.",
            allowed=f"Allowed: {MIN_SIDE} pixels or more on each side.",
            remedy="Replace or remove the file.",
        )
    return pixels


def resize(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resizes ``[H, W, 3]`` to ``[side, side, 3]`` with antialiased bilinear interpolation."""
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def crop(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cuts the square around a box out of ``[H, W, 3]``; beyond the edge of the image, the edge is repeated."""
    x, y, width, height = box
    side = max(1, round(max(width, height) * (1 + 2 * CROP_MARGIN)))
    left, top = round(x + width / 2 - side / 2), round(y + height / 2 - side / 2)
    rows = np.clip(np.arange(top, top + side), 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, pixels.shape[1] - 1)
    return pixels[rows[:, None], columns[None, :]]


def load(path: Path, side: int, box: Box | None = None) -> NDArray[np.uint8]:
    """Reads a file as input of the network: uint8 RGB ``[side, side, 3]``; with a box, only the square around it."""
    pixels = read_image(path)
    return resize(crop(pixels, box) if box else pixels, side)
