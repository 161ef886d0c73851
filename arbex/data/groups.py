"""Groups of images by a column of ``labels.csv``, such as glasses or age. NumPy alone."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbex.errors import DataError, reason
from arbex.images import name_in_table

TABLE = "labels.csv"
"""File in the folder of a data set."""


def read_groups(root: Path, column: str, files: Sequence[Path]) -> NDArray[np.str_]:
    """Reads the groups of images from ``labels.csv``.

    Args:
        root: Folder of the data set, with the table; its column ``file`` holds paths relative to this folder.
        column: Name of the column whose values are the groups.
        files: The images.

    Returns:
        A name per image, as ``column=value``.

    Raises:
        DataError: If the table cannot be read, or lacks the column or an image.
    """
    table = root / TABLE
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The groups cannot be read from {table}: {reason(error)}.",
            allowed="Allowed: a table with the columns 'file' and those to group by.",
            remedy="Leave --by out, or write the table; arbex synth writes one.",
        ) from error
    if "file" not in columns or column not in columns or column == "file":
        others = ", ".join(name for name in columns if name != "file") or "none"
        raise DataError(
            f"{table} cannot group images by {column!r}.",
            allowed=f"Allowed: a column 'file' with the paths of the images, and one of: {others}.",
        )
    values = {name_in_table(row["file"]): row[column] for row in rows}
    names = [name_in_table(file.relative_to(root).as_posix()) for file in files]
    missing = [name for name in names if name not in values]
    if missing:
        raise DataError(
            f"{table} lacks {len(missing)} of {len(names)} images; the first: {missing[0]}.",
            remedy="Add a row for each image.",
        )
    return np.array([f"{column}={values[name]}" for name in names])
