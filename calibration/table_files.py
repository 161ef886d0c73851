"""The two files of a calibration table: where they are, and what they may replace."""

from __future__ import annotations

import json
from pathlib import Path

from arbex.errors import InputError

SUMS = ".sums"
"""Ending of the name under which a tensor's sums by channel are stored; names of tensors hold no dots."""

REMEDY = "Give another --out, or remove that file first."


def counts_file(path: Path) -> Path:
    """Returns the path of the histograms of a table."""
    return path.with_suffix(".safetensors")


def check_place(path: Path) -> None:
    """Refuses a path at which a table would overwrite anything but an earlier table.

    Args:
        path: JSON file that is to be written; the histograms go next to it as ``.safetensors``.

    Raises:
        InputError: If it is not a ``.json`` file, its folder does not exist, or one of the two files exists and does
            not belong to a calibration table.
    """
    if path.suffix != ".json":
        raise InputError(
            f"The path of the table is {path}.",
            allowed="Allowed: FILE.json; the histograms are written next to it as FILE.safetensors.",
        )
    if not path.parent.is_dir():
        raise InputError(
            f"The folder {path.parent} of the table {path.name} does not exist.", remedy="Create the folder first."
        )
    tensors = tensors_of_table(path)
    if path.exists() and tensors is None:
        raise InputError(
            f"{path} is not a calibration table and would be overwritten.",
            allowed="Allowed: a new path, or that of an earlier table.",
            remedy=REMEDY,
        )
    counts = counts_file(path)
    if counts.exists() and (tensors is None or tensors_of_counts(counts) != tensors):
        raise InputError(
            f"{counts} does not hold the histograms of the table {path.name} and would be overwritten by them.",
            allowed="Allowed: no such file, or the histograms of an earlier table.",
            remedy=REMEDY,
        )


def tensors_of_table(path: Path) -> set[str] | None:
    """Returns the names of the tensors in a table of any version, or None if the file is not a table."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # errors of JSON and UTF-8 are ValueErrors
        return None
    if not isinstance(value, dict) or "schema" not in value or not isinstance(value.get("tensors"), dict):
        return None
    return set(value["tensors"])


def tensors_of_counts(path: Path) -> set[str] | None:
    """Returns the names of the histograms in a file, or None if it holds anything else.

    Only the header is read: if writing was interrupted, the counts are newer than the table.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as stream:
            names = set(stream.keys())
            whole = all(stream.get_slice(name).get_dtype() == "I64" for name in names)
    except (SafetensorError, OSError):
        return None
    return {name.removesuffix(SUMS) for name in names} if whole else None
