"""The layout ``affectnet``: AffectNet (Mollahosseini et al. 2017), in both forms in which it is distributed.

train_set/images/0.jpg, train_set/annotations/0_exp.npy; val_set likewise
training.csv, validation.csv and Manually_Annotated_Images/<folder>/<name>.jpg; the archives unpack to
Manually_Annotated_file_lists/training.csv and Manually_Annotated/Manually_Annotated_Images
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from arbex.data.layouts.base import Layout
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.images import has_suffix, list_folder

OWN = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""Classes of the codes 0 to 7. The codes 8 to 10 (none, uncertain, no face) are left out."""

LARGEST_CODE = 10
ORDER = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt")
SETS = {"train": "train_set", "test": "val_set"}
TABLES = {"train": "training.csv", "test": "validation.csv"}
LISTS = (".", "Manually_Annotated_file_lists")
"""Folders that the tables may be in."""

IMAGES = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated", ".")
"""Folders that the paths in the tables may be relative to."""

FILE, CODE = "subDirectory_filePath", "expression"
COLUMNS = (FILE, "face_x", "face_y", "face_width", "face_height", "facial_landmarks", CODE, "valence", "arousal")
"""Columns in their order, for a table without a header."""


class AffectNet(Layout):
    """Eight classes, or seven without contempt.

    The official validation set serves as ``test``, since the test set was never published; the literature reports
    results on it. A tenth of the training images is held out for validation.
    """

    name = "affectnet"
    options = {"classes": ("8", "7")}

    def splits(self) -> Sequence[str]:
        """Returns the splits that exist."""
        found = [s for s in SETS if (self.root / SETS[s] / "images").is_dir() or self.table(s)]
        if not found:
            raise self.missing("train_set/images or training.csv", "train_set and val_set, or training.csv")
        return found

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions and, for eight classes, contempt."""
        return ORDER[: int(self.chosen["classes"])]

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images whose code is one of the classes."""
        folder = self.root / SETS[split]
        table = None if (folder / "images").is_dir() else self.table(split)
        pairs = self.from_table(table) if table else self.from_arrays(folder)
        return [
            Sample(file, labels.index(OWN[code])) for file, code in pairs if code < len(OWN) and OWN[code] in labels
        ]

    def table(self, split: str) -> Path | None:
        """Returns the table of a split in the older form, or None if there is none."""
        return next(
            (self.root / at / TABLES[split] for at in LISTS if (self.root / at / TABLES[split]).is_file()), None
        )

    def from_arrays(self, folder: Path) -> Iterator[tuple[Path, int]]:
        """Yields images and codes of the newer form, in which each code has a file of its own."""
        files = [Path(entry.path) for entry in list_folder(folder / "images")]
        for file in sorted(files, key=lambda p: (len(p.stem), p.stem)):
            if not has_suffix(file.name):
                continue
            code = folder / "annotations" / f"{file.stem}_exp.npy"
            try:
                yield file, checked(int(np.load(code, allow_pickle=False)))
            except (OSError, EOFError, ValueError, TypeError) as error:
                raise DataError(
                    f"The annotation {code} cannot be read: {error}.",
                    allowed=f"Allowed: one whole number from 0 to {LARGEST_CODE}.",
                    remedy="Download the data set again, or remove the image.",
                ) from error

    def from_table(self, table: Path) -> Iterator[tuple[Path, int]]:
        """Yields images and codes of the older form, in which a table holds the codes."""
        base = next(self.root / name for name in IMAGES if (self.root / name).is_dir())
        with table.open(newline="", encoding="utf-8-sig") as stream:
            header = FILE in stream.readline()
            stream.seek(0)
            for number, row in enumerate(csv.DictReader(stream, None if header else COLUMNS), start=1 + header):
                try:
                    yield base / row[FILE], checked(int(row[CODE]))
                except (KeyError, TypeError, ValueError) as error:
                    raise DataError(
                        f"Line {number} of {table} cannot be read: {row}.",
                        allowed=f"Allowed: the columns {FILE} and {CODE} (0 to {LARGEST_CODE}).",
                        remedy="Correct the line, or download the data set again.",
                    ) from error


def checked(code: int) -> int:
    """Returns the code of an expression.

    Raises:
        ValueError: If it is out of range.
    """
    if not 0 <= code <= LARGEST_CODE:
        raise ValueError(f"{code} is not the code of an expression")
    return code
