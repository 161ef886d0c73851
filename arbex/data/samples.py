"""Labeled images and sets of them, for every layout."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbex import images
from arbex.errors import DataError
from arbex.spec import digest_json

HELD_OUT = 10
"""Without a validation split, every 10th person is held out; if people are unknown, every 10th image of a class.

See :func:`held_out_people` for classes that none of these people shows."""


@dataclass(frozen=True)
class Sample:
    """One labeled image.

    Attributes:
        file: Path of the image, or of the table with its pixels.
        label: Position of the class.
        group: Person or video of the image; empty if unknown.
        votes: Number of annotators' votes for each class; empty if unknown.
        row: Row in the table, counted from 0; None for an image file.
        box: Where the face is in the image; None for the whole image.
    """

    file: Path
    label: int
    group: str = ""
    votes: tuple[int, ...] = ()
    row: int | None = None
    box: images.Box | None = None

    def __str__(self) -> str:
        """Returns where the image is, for messages."""
        return str(self.file) if self.row is None else f"row {self.row} of {self.file}"


@dataclass(frozen=True)
class FaceSet:
    """The images of one split, in a fixed order.

    Attributes:
        root: Folder of the data set.
        split: Name of the split.
        labels: Class names in order.
        samples: Labeled images of the split.
    """

    root: Path
    split: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def digest(self) -> str:
        """Identifies the labels, files (by name and size), rows, votes and boxes of the split."""
        rows = [
            (s.file.relative_to(self.root).as_posix(), size(s.file), s.label, s.votes, s.row)
            + ((s.box,) if s.box else ())  # left out where there is none, so that digests in older runs stay valid
            for s in self.samples
        ]
        return digest_json([self.labels, rows])

    def targets(self, *, soft: bool) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Returns target distributions, float32 ``[n, N]``.

        Args:
            soft: Whether to use the shares of the votes where there are any; all other targets are one-hot.
        """
        out = np.zeros((len(self.samples), len(self.labels)), dtype=np.float32)
        for row, sample in zip(out, self.samples, strict=True):
            if soft and any(sample.votes):
                votes = np.asarray(sample.votes, dtype=np.float32)
                votes[sample.label] += 1e-3  # the label decides ties
                row[:] = votes / votes.sum()
            else:
                row[sample.label] = 1
        return out


def size(file: Path) -> int:
    """Returns the size of a file in bytes; 0 for one that a table names and that does not exist."""
    return file.stat().st_size if file.exists() else 0


def read_table_rows(file: Path, wanted: Container[int]) -> dict[int, NDArray[np.uint8] | None]:
    """Reads rows of a table like ``fer2013.csv``, whose column ``pixels`` holds a square gray image in each row.

    Args:
        file: The table.
        wanted: Numbers of the rows, counted from 0.

    Returns:
        uint8 ``[S, S]`` by row, or None where the numbers in a row are not a square image.

    Raises:
        DataError: If the table cannot be read or lacks the column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = enumerate(csv.DictReader(stream, skipinitialspace=True))
            return {number: square(row["pixels"]) for number, row in rows if number in wanted}
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise DataError(
            f"{file} cannot be read as a table of pixels: {type(error).__name__}: {error}.",
            allowed="Allowed: a CSV file with a column 'pixels', such as fer2013.csv.",
            remedy="Copy the table again.",
        ) from error


def square(text: str | None) -> NDArray[np.uint8] | None:
    """Returns numbers 0 to 255, separated by spaces, as a square image, or None if they do not form one."""
    try:
        values = np.array((text or "").split(), dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    side = round(len(values) ** 0.5)
    if side < images.MIN_SIDE or side * side != len(values) or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(side, side)


class SampleReader:
    """Reads samples at the size of the network's input.

    All rows of tables are read when the reader is built, and kept as long as it exists.

    Args:
        samples: All samples that the reader may be asked for.
        side: Side in pixels to which images are resized.

    Raises:
        DataError: If a table cannot be read.
    """

    def __init__(self, samples: Iterable[Sample], side: int) -> None:
        """Reads the rows of tables."""
        self.side = side
        wanted: dict[Path, set[int]] = {}
        for sample in samples:
            if sample.row is not None:
                wanted.setdefault(sample.file, set()).add(sample.row)
        self.rows = {file: read_table_rows(file, rows) for file, rows in wanted.items()}

    def read(self, sample: Sample) -> NDArray[np.uint8]:
        """Returns uint8 RGB ``[side, side, 3]``.

        Raises:
            DataError: If the sample cannot be read.
        """
        if sample.row is None:
            return images.load(sample.file, self.side, sample.box)
        gray = self.rows[sample.file].get(sample.row)
        if gray is None:
            raise DataError(
                f"The pixels in {sample} are not a square image.",
                allowed=f"Allowed: S x S numbers from 0 to 255, with S at least {images.MIN_SIDE}.",
                remedy="Copy the table again.",
            )
        return images.resize(np.repeat(gray[:, :, None], 3, axis=2), self.side)


def held_out(samples: Sequence[Sample]) -> Iterator[bool]:
    """Yields for each image whether it is held out for validation."""
    people = held_out_people(samples)
    seen: Counter[int] = Counter()
    for sample in samples:
        if sample.group:
            yield sample.group in people
        else:
            yield seen[sample.label] % HELD_OUT == 0
            seen[sample.label] += 1


def held_out_people(samples: Sequence[Sample]) -> set[str]:
    """Returns every 10th person, and for each class that none of these shows, the first of those who do.

    A class that only one person shows stays in training. Images of unknown people are held out by class.
    """
    shown_by: dict[int, set[str]] = {}
    for sample in samples:
        shown_by.setdefault(sample.label, set()).add(sample.group)
    chosen = set(sorted(set().union(*shown_by.values()) - {""})[::HELD_OUT])
    for _, people in sorted(shown_by.items()):
        if "" not in people and len(people) > 1 and not people & chosen:
            chosen.add(min(people))
    return chosen


def check_every_class(samples: Sequence[Sample], labels: tuple[str, ...], where: str) -> None:
    """Checks that every class has images.

    Args:
        samples: The images.
        labels: Class names in order.
        where: Where the images are, for the error.

    Raises:
        DataError: If a class has none.
    """
    present = {s.label for s in samples}
    for label, name in enumerate(labels):
        if label not in present:
            raise DataError(
                f"The class {name!r} has no images in {where}.",
                remedy="Add images of it, or remove the class from every split and from classes.txt.",
            )


def summary(faces: FaceSet) -> str:
    """Returns one line with the numbers of images, people, and images per class."""
    counts = Counter(s.label for s in faces.samples)
    people = len({s.group for s in faces.samples if s.group})
    unknown = sum(not s.group for s in faces.samples)
    by_class = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(faces.labels))
    whose = (
        f" of {people} people" + (f", {unknown} of them of nobody who is named" if unknown else "") if people else ""
    )
    return f"{len(faces.samples)} images{whose} ({by_class})"
