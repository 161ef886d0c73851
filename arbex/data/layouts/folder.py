"""The layout ``folder``: ``<split>/<class>/<image>``, with an optional table of votes and people."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from arbex.data.groups import TABLE
from arbex.data.layouts.base import ANY, Layout
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.images import find_images, is_there, list_folder, name_in_table, split_folders
from arbex.spec import EXPRESSIONS

USUAL = (*EXPRESSIONS, "contempt", "other")
"""Usual order of expressions."""


def class_folders(folder: Path) -> list[Path]:
    """Returns the class folders directly below ``folder``, sorted by name."""
    shown = (entry for entry in list_folder(folder) if not entry.name.startswith("."))
    return [Path(entry.path) for entry in shown if is_there(entry) and entry.is_dir()]


class Folder(Layout):
    """``<split>/<class>/<image>`` or ``<class>/<image>``, with optional files ``classes.txt`` and ``labels.csv``."""

    name = "folder"

    def splits(self) -> Sequence[str]:
        """Returns the splits that have a folder; without any, the root serves as each of them."""
        if self.folders:
            return list(self.folders)
        self.check_depth()
        return [ANY]

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The folder of each split."""
        return split_folders(self.root) if self.root.is_dir() else {}

    def folder(self, split: str) -> Path:
        """Returns the folder of a split; data sets without splits have one folder for all."""
        return self.folders.get(split, self.root)

    def check_depth(self) -> None:
        """Refuses a folder of data sets, whose names would become classes.

        Raises:
            DataError: If folders of it have splits.
        """
        for folder in class_folders(self.root) if self.root.is_dir() else []:
            below = split_folders(folder)
            if len(below) > 1:
                raise DataError(
                    f"{self.root} is not one data set: {folder.name} has the splits {', '.join(below)} of its own.",
                    allowed="Allowed: <split>/<class>/<image>, or <class>/<image>.",
                    remedy=f"Give the path of one, such as {folder}.",
                )

    def oddities(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Yields which folders look like splits and are none, and which splits have other classes."""
        for folder in class_folders(self.root) if self.folders else []:
            inside = [below.name for below in class_folders(folder)]
            if folder not in self.folders.values() and not set(labels).isdisjoint(inside):
                yield f"{folder} is left out: it is not named after a split"
        for split, folder in self.folders.items():
            inside = [below.name for below in class_folders(folder)]
            further, missing = sorted({*inside} - {*labels}), [name for name in labels if name not in inside]
            if further:
                yield f"the split {split!r} has further classes: {', '.join(further)}"
            if missing:
                yield f"the split {split!r} lacks classes: {', '.join(missing)}"

    def declared(self) -> tuple[str, ...] | None:
        """Returns the class order that ``classes.txt`` declares, or None without such a file."""
        file = self.root / "classes.txt"
        if not file.is_file():
            return None
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{file} lists the class {twice[0]!r} twice.", remedy="Remove one of the two lines.")
        return names

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the class names in the declared order, else in that of ``USUAL``, else alphabetically."""
        folder = self.folder(split)
        names = [p.name for p in class_folders(folder)]
        declared = self.declared()
        if declared:
            strange = sorted(set(names) - set(declared))
            if strange:
                raise DataError(
                    f"{folder} has a class folder {strange[0]!r} that {self.root / 'classes.txt'} does not list.",
                    allowed=f"Allowed: {', '.join(declared)}.",
                    remedy="Add it to classes.txt, or remove the folder.",
                )
            return declared
        usual = [name for name in USUAL if name in names]
        return tuple(usual) if len(usual) == len(names) else tuple(names)

    def check_order(self, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
        """Refuses a declared order other than that of the model, since votes are assigned by position."""
        if self.declared():
            raise DataError(
                f"{self.root / 'classes.txt'} declares the class order {', '.join(found)}; the model answers in the "
                f"order {', '.join(expected)}.",
                remedy="Put classes.txt into the order of the model (votes in labels.csv are assigned by position).",
            )

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images below the class folders, with people and votes from ``labels.csv``."""
        folder = self.folder(split)
        table, samples = self.read_table(labels), []
        for label, name in enumerate(labels):
            for file in find_images(folder / name) if (folder / name).is_dir() else []:
                group, votes = table.get(self.name_of(file), ("", ()))
                samples.append(Sample(file, label, group, votes))
        self.check_table(table)
        return samples

    def name_of(self, file: Path) -> str:
        """Returns the name of an image in ``labels.csv``."""
        return name_in_table(file.relative_to(self.root).as_posix())

    def check_table(self, table: Mapping[str, object]) -> None:
        """Refuses a table that names none of the images.

        Raises:
            DataError: If there are rows, and no image belongs to any of them.
        """
        if table and table.keys().isdisjoint(map(self.name_of, find_images(self.root))):
            raise DataError(
                f"{self.root / TABLE} names none of the images; its first row is about {next(iter(table))}.",
                allowed=f"Allowed: paths relative to {self.root}, such as train/anger/0.png.",
                remedy="Correct the column 'file', or remove the table.",
            )

    def read_table(self, labels: tuple[str, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Reads person and votes from ``labels.csv``, by file name relative to the root."""
        file = self.root / TABLE
        if not file.is_file():
            return {}
        table = {}
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    votes = tuple(int(v) for v in row.get("votes", "").split())
                    table[name_in_table(row["file"])] = row.get("subject", ""), votes
                except (KeyError, ValueError, AttributeError) as error:
                    raise DataError(
                        f"Line {number} of {file} cannot be read: {row}.",
                        allowed="Allowed: the column file, and subject, votes or both; votes are whole numbers in the "
                        "order of the classes.",
                        remedy="Correct the line.",
                    ) from error
                if votes and (len(votes) != len(labels) or min(votes) < 0):
                    raise DataError(
                        f"Line {number} of {file} has the votes {' '.join(map(str, votes))}.",
                        allowed=f"Allowed: a number of 0 or more for each of the {len(labels)} classes, or none.",
                        remedy="Correct the line.",
                    )
        return table
