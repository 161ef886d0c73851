"""The two files of a calibration table: where they lie, and what they may replace."""

from __future__ import annotations

import json
from pathlib import Path

from arbex.errors import InputError

ELSEWHERE = "Give another --out, or remove that file first."


def counts_file(path: Path) -> Path:
    """Returns where the histograms of a table lie."""
    return path.with_suffix(".safetensors")


def check_place(path: Path) -> None:
    """Refuses a place where writing a table would destroy anything but an earlier table.

    Args:
        path: The JSON file that is to be written; the histograms go beside it as ``.safetensors``.

    Raises:
        InputError: If it is no ``.json`` file, its folder does not exist, or one of both files exists and does not
            belong to a calibration table.
    """
    if path.suffix != ".json":
        raise InputError(
            f"The table {path} must be a .json file.", remedy="Its histograms lie beside it as .safetensors."
        )
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} of the table {path.name} does not exist.", remedy="Make it first.")
    tensors = tensors_of_table(path)
    if path.exists() and tensors is None:
        raise InputError(
            f"{path} is no calibration table and would be overwritten.",
            allowed="A table may only take the place of an earlier table.",
            remedy=ELSEWHERE,
        )
    counts = counts_file(path)
    if counts.exists() and (tensors is None or tensors_of_counts(counts) != tensors):
        raise InputError(
            f"{counts} does not hold the histograms of a table {path.name} and would be overwritten by them.",
            allowed="The histograms lie beside the table, and may only take the place of an earlier table's.",
            remedy=ELSEWHERE,
        )


def tensors_of_table(path: Path) -> set[str] | None:
    """Returns the names of the tensors in a table of any version, or None where there is no table."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # errors of JSON and UTF-8 are ValueErrors
        return None
    if not isinstance(value, dict) or "schema" not in value or not isinstance(value.get("tensors"), dict):
        return None
    return set(value["tensors"])


def tensors_of_counts(path: Path) -> set[str] | None:
    """Returns the names of the histograms in a file, or None where it holds anything else.

    The header tells; the counts themselves may be newer than the table, which was interrupted then.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as stream:
            names = set(stream.keys())
            whole = all(stream.get_slice(name).get_dtype() == "I64" for name in names)
    except (SafetensorError, OSError):
        return None
    return names if whole else None
