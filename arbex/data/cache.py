"""Decoded images on disk, for sets that do not fit into memory: decoded once, whatever reads them later."""

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
"""Reasons by position in the set."""


def cache_folder() -> Path:
    """Returns where decoded images lie: ``$ARBEX_CACHE``, else below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    named = os.environ.get("ARBEX_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "arbex"


def open_pixels(
    key: str, shape: tuple[int, int, int, int], decode: Callable[[NDArray[np.uint8]], Unreadable]
) -> tuple[NDArray[np.uint8], Unreadable]:
    """Returns images from disk, after decoding them there if that was not done before.

    Args:
        key: Identifies the images and their size.
        shape: ``(n, 3, side, side)``.
        decode: Fills uint8 of that shape and returns what could not be read.

    Raises:
        DataError: If there is too little space.
    """
    folder = cache_folder()
    file, notes = folder / f"{key}.npy", folder / f"{key}.json"
    if not (file.is_file() and notes.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
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
    # Copy-on-write: a tensor on read-only memory is something that torch warns of.
    return np.load(file, mmap_mode="c"), stored


def check_space(folder: Path, wanted: int) -> None:
    """Refuses to decode where there is no room.

    Raises:
        DataError: If less than ``wanted`` bytes and a tenth are free.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted * 1.1:
        raise DataError(
            f"The decoded images need {wanted / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left.",
            remedy="Set ARBEX_CACHE to a folder with more room, or train with smaller images.",
        )
