"""The layout ``ferplus``: FER+ (Barsoum et al. 2016), ten votes per image for the images of FER2013.

fer2013new.csv      Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
fer2013.csv         emotion,pixels,Usage: the same images row by row; or, instead of it,
FER2013Train/fer0000000.png, FER2013Valid/…, FER2013Test/…
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from arbex.data.layouts.base import Layout, permuted
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.images import has_suffix, list_folder

VOTES, PIXELS = "fer2013new.csv", "fer2013.csv"
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
FOLDERS = {"train": "FER2013Train", "val": "FER2013Valid", "test": "FER2013Test"}
OWN = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""Classes in the order of the columns."""

ORDER = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt")


class FerPlus(Layout):
    """Majority labels and votes.

    Options:
        outliers: Whether to ``drop`` single votes, as the authors do, or to ``keep`` them.
        unknown: Whether to ``drop`` images that most annotators could not name, or to ``keep`` them with the strongest
            expression.
        nonface: The same for images that most annotators found not to be a face.
        majority: ``half`` drops images on which at most half of the annotators agree.
        classes: ``7`` leaves contempt out.
    """

    name = "ferplus"
    options = {
        "outliers": ("drop", "keep"),
        "unknown": ("drop", "keep"),
        "nonface": ("drop", "keep"),
        "majority": ("any", "half"),
        "classes": ("8", "7"),
    }

    def splits(self) -> Sequence[str]:
        """Returns the splits that have images."""
        if not (self.root / VOTES).is_file():
            raise self.missing(VOTES, f"{VOTES} next to {PIXELS} or {', '.join(FOLDERS.values())}")
        there = [s for s in FOLDERS if (self.root / PIXELS).is_file() or self.holds_images(s)]
        if not there:
            raise self.missing(PIXELS, f"{PIXELS} or the folders {', '.join(FOLDERS.values())}")
        return there

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions and, for eight classes, contempt."""
        return ORDER[: int(self.chosen["classes"])]

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images of a split that the options keep."""
        found = []
        folder = self.root / FOLDERS[split] if self.holds_images(split) else None
        if folder is None:
            self.check_tables()
        with (self.root / VOTES).open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.DictReader(stream)):
                if row.get("Usage") != USAGES[split]:
                    continue
                kept = self.judge(self.read_votes(row, number + 2))
                # Images that FER+ has removed have no name.
                if kept is None or not (row.get("Image name") or "").strip():
                    continue
                label, votes = kept
                own = permuted(votes, OWN, labels)
                found.append(self.sample(folder, row["Image name"].strip(), number, labels.index(label), own))
        return found

    def sample(self, folder: Path | None, image: str, row: int, label: int, votes: tuple[int, ...]) -> Sample:
        """Returns an image in the folder of its split, or without one a row of the table."""
        if folder is not None:
            return Sample(folder / image, label, votes=votes)
        return Sample(self.root / PIXELS, label, votes=votes, row=row)

    def holds_images(self, split: str) -> bool:
        """Tells whether the folder of a split holds images; in the authors' repository, it holds a table alone."""
        folder = self.root / FOLDERS[split]
        return folder.is_dir() and any(has_suffix(entry.name) for entry in list_folder(folder))

    def check_tables(self) -> None:
        """Checks that the rows of both tables are about the same images, which only their order says.

        Raises:
            DataError: If a table cannot be read, or their numbers of rows or their usages differ.
        """
        votes, pixels = (usages_of(self.root / name) for name in (VOTES, PIXELS))
        pairs = enumerate(zip(votes, pixels, strict=False), start=2)
        line = next((number for number, (one, other) in pairs if one != other), min(len(votes), len(pixels)) + 2)
        if votes != pixels:
            raise DataError(
                f"The rows of {self.root / PIXELS} are not those of {VOTES}: line {line} is about another image.",
                allowed="Allowed: both tables as they were published, with the same rows in the same order.",
                remedy="Download the table of pixels again: copies may lack rows, or hold them in another order.",
            )

    def read_votes(self, row: dict[str, str], line: int) -> list[int]:
        """Reads the ten votes of a row: the expressions, unknown, no face."""
        try:
            return [int(row[name]) for name in (*OWN, "unknown", "NF")]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"Line {line} of {self.root / VOTES} cannot be read: {row}.",
                allowed=f"Allowed: the columns Usage, Image name, {', '.join(OWN)}, unknown, NF, with whole votes.",
                remedy="Correct the line, or download the table again.",
            ) from error

    def judge(self, votes: list[int]) -> tuple[str, list[int]] | None:
        """Returns label and votes for the expressions, or None for an image that is left out."""
        if self.chosen["outliers"] == "drop":
            votes = [vote if vote > 1 else 0 for vote in votes]
        expressions, unknown, nonface = votes[: len(OWN)], votes[-2], votes[-1]
        if self.chosen["classes"] == "7" and expressions[-1] == max(expressions):
            return None
        strongest, total = max(expressions), sum(votes)
        if self.chosen["classes"] == "7":
            expressions[-1] = 0
        excluded = [n for n, key in ((unknown, "unknown"), (nonface, "nonface")) if self.chosen[key] == "drop"]
        if strongest == 0 or any(n >= strongest for n in excluded):
            return None
        if self.chosen["majority"] == "half" and strongest * 2 <= total:
            return None
        return OWN[expressions.index(strongest)], expressions


def usages_of(table: Path) -> list[str]:
    """Returns the usage of each row of a table.

    Raises:
        DataError: If it cannot be read, or lacks that column.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, skipinitialspace=True)
            column = next(rows).index("Usage")
            return [row[column] for row in rows if row]
    except (OSError, ValueError, IndexError, StopIteration, csv.Error) as error:
        raise DataError(
            f"{table} cannot be read: {type(error).__name__}: {error}.",
            allowed="Allowed: a table with a column 'Usage' that has a value in every row.",
            remedy="Download the table again.",
        ) from error
