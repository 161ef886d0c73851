"""The layout ``fer2013``: FER2013 (Goodfellow et al. 2013), 48-pixel gray faces, in the forms in which it is given out.

fer2013.csv                           emotion,pixels,Usage; icml_face_data.csv has the same columns with spaces
train/angry/Training_3908.jpg         or folders of any names: the file name tells the split, its folder the class
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from arbex.data.layouts.base import Layout, class_of_folder
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.images import find_images
from arbex.spec import EXPRESSIONS

TABLES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Classes by the numbers in the table."""

NUMBERS = {str(number): name for number, name in enumerate(CODES)}

PATTERN = re.compile(r"(?P<usage>Training|PublicTest|PrivateTest)_\d+\.(jpg|png)", re.IGNORECASE)
"""Names of original images. Others, such as augmented copies that somebody added, are left out."""


class Face(NamedTuple):
    """One image: its split and expression, and its file, or its row in the table that is the file."""

    split: str
    expression: str
    file: Path
    row: int | None


class Fer2013(Layout):
    """35,887 images: 28,709 for training, 3,589 of the public test as validation, 3,589 of the private one as test."""

    name = "fer2013"

    @property
    def table(self) -> Path | None:
        """The table, or None if the images are files."""
        return next((self.root / name for name in TABLES if (self.root / name).is_file()), None)

    @cached_property
    def images(self) -> list[Face]:
        """All images of all splits."""
        return list(rows_of(self.table) if self.table else files_below(self.root))

    def splits(self) -> Sequence[str]:
        """Returns the splits that have images."""
        there = {face.split for face in self.images}
        if not there:
            raise self.missing(TABLES[0], f"{', '.join(TABLES)}, or files such as train/angry/Training_3908.jpg")
        return [split for split in USAGES.values() if split in there]

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions."""
        return EXPRESSIONS

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images of a split."""
        mine = (face for face in self.images if face.split == split)
        return [Sample(face.file, labels.index(face.expression), row=face.row) for face in mine]


def rows_of(table: Path) -> Iterator[Face]:
    """Yields the images in a table.

    Raises:
        DataError: If the table cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.DictReader(stream, skipinitialspace=True)):
                yield Face(USAGES[row["Usage"]], NUMBERS[row["emotion"].strip()], table, number)
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{table} cannot be read as a table of FER2013: {type(error).__name__}: {error}.",
            allowed=f"Allowed: the columns emotion (0 to 6), pixels, and Usage ({', '.join(USAGES)}).",
            remedy="Download the table again.",
        ) from error


def files_below(root: Path) -> Iterator[Face]:
    """Yields the original images below a folder.

    Raises:
        DataError: If the folder of an image is not named after a class.
    """
    usages = {name.lower(): split for name, split in USAGES.items()}
    for file in find_images(root):
        match = PATTERN.fullmatch(file.name)
        if match:
            name = class_of_folder(file, EXPRESSIONS, "FER2013")
            yield Face(usages[match["usage"].lower()], name, file, None)
