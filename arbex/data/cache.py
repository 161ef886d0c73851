"""Decoded images on disk, for sets that do not fit into memory: they are decoded once for all runs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbex.errors import DataError
from arbex.files import write_atomically

Unreadable = dict[int, str]
"""Reasons why images cannot be read, by position in the set."""


def cache_folder() -> Path:
    """Returns the folder of decoded images: ``$ARBEX_CACHE``, or ``arbex`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    named = os.environ.get("ARBEX_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "arbex"


def open_pixels(
    key: str, shape: tuple[int, int, int, int], decode: Callable[[NDArray[np.uint8]], Unreadable]
) -> tuple[NDArray[np.uint8], Unreadable]:
    """Returns images from disk, after decoding them if no earlier call did.

    Args:
        key: Name that identifies the images and their size.
        shape: ``(n, 3, side, side)``.
        decode: Function that fills a uint8 array of that shape, and returns which images cannot be read.

    Returns:
        uint8 images of that shape, mapped from the file, and which of them could not be read.

    Raises:
        DataError: If the folder cannot be made, or the disk has too little space.
    """
    folder = cache_folder()
    file, notes = folder / f"{key}.npy", folder / f"{key}.json"
    if not (file.is_file() and notes.is_file()):
        make_folder(folder)
        check_space(folder, int(np.prod(shape, dtype=np.int64)))
        handle, name = tempfile.mkstemp(prefix=f".{key}.", suffix=".part", dir=folder)
        os.close(handle)
        part = Path(name)
        try:
            pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            unreadable = decode(pixels)
            pixels.flush()
            del pixels
            write_atomically(notes, json.dumps({str(i): reason for i, reason in unreadable.items()}))
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    stored = {int(i): str(reason) for i, reason in json.loads(notes.read_text(encoding="utf-8")).items()}
    # Copy-on-write, since torch warns about tensors on read-only memory.
    return np.load(file, mmap_mode="c"), stored


def make_folder(folder: Path) -> None:
    """Makes the folder of decoded images.

    Raises:
        DataError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The folder of decoded images {folder} cannot be made: {error.strerror}.",
            remedy="Set ARBEX_CACHE to a folder that you may write to.",
        ) from error


def check_space(folder: Path, wanted: int) -> None:
    """Checks that there is space for decoded images.

    Raises:
        DataError: If less than 1.1 times ``wanted`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted * 1.1:
        raise DataError(
            f"The decoded images need {wanted / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left.",
            remedy="Set ARBEX_CACHE to a folder with more space, or train with smaller images.",
        )
