"""Class names inside artifacts: where each format keeps them, so that a file tells what its outputs mean.

A manifest that names the classes in another order than its artifact gives wrong answers that no figure shows.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from arbex.errors import BackendError

KEY: Final = "labels"
"""Name under which ONNX, Core ML, Core AI and ExecuTorch keep them, as a JSON array of strings."""

FILE: Final = "labels.txt"
"""Name under which TFLite keeps them: a file in an archive after the model, with a name per line, as TensorFlow Lite's
own metadata does and Android's libraries read it."""


LARGEST: Final = 1_000_000
"""Largest size of that file in bytes: what an archive unpacks to has no limit of its own."""


def to_text(labels: Sequence[str]) -> str:
    """Returns class names as the text that ``from_text`` reads."""
    return json.dumps(list(labels), ensure_ascii=False)


def from_text(text: str | None) -> tuple[str, ...] | None:
    """Returns the class names in a text; None if there is none.

    Raises:
        BackendError: If it is not a JSON array of strings.
    """
    if text is None:
        return None
    try:
        labels = json.loads(text)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise BackendError(
            f"The artifact's metadata {KEY!r} is {text[:80]!r}.",
            allowed="Allowed: a JSON array of class names.",
            remedy="Export the bundle again.",
        )
    return tuple(labels)


def append_labels(model: Path, labels: Sequence[str]) -> None:
    """Appends class names to a TFLite file, in place; interpreters do not read what follows the model."""
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(zipfile.ZipInfo(FILE), "".join(f"{label}\n" for label in labels))  # with a fixed date


def appended_labels(model: Path) -> tuple[str, ...] | None:
    """Returns the class names in a TFLite file; None if it holds none.

    Raises:
        BackendError: If its archive is damaged.
    """
    if not zipfile.is_zipfile(model):
        return None
    try:
        with zipfile.ZipFile(model) as archive:
            if FILE not in archive.namelist():
                return None
            if archive.getinfo(FILE).file_size > LARGEST:
                raise zipfile.BadZipFile(f"{FILE} has more than {LARGEST} bytes")
            return tuple(archive.read(FILE).decode().removesuffix("\n").split("\n"))
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError) as error:
        raise BackendError(
            f"The class names in {model} cannot be read: {error}.", remedy="Export the bundle again."
        ) from error
