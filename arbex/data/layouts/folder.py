"""The layout ``folder``: ``<split>/<class>/<image>``, with an optional table of votes and people."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from arbex.data.layouts.base import ANY, Layout
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.images import find_images, is_there, list_folder
from arbex.spec import EXPRESSIONS, SPLITS

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
        found = [split for split in SPLITS if self.folder(split)]
        if found:
            return found
        return [ANY]

    def folder(self, split: str) -> Path | None:
        """Returns the folder of a split, or None if it does not exist."""
        if split == ANY:
            return self.root
        return next((self.root / name for name in SPLITS[split] if (self.root / name).is_dir()), None)

    def declared(self) -> tuple[str, ...] | None:
        """Returns the class order that ``classes.txt`` declares, or None without such a file."""
        file = self.root / "classes.txt"
        if not file.is_file():
            return None
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip())

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the class names in the declared order, else in that of ``USUAL``, else alphabetically."""
        folder = self.folder(split) or self.root
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
        folder = self.folder(split) or self.root
        table, samples = self.read_table(labels), []
        for label, name in enumerate(labels):
            for file in find_images(folder / name) if (folder / name).is_dir() else []:
                group, votes = table.get(file.relative_to(self.root).as_posix(), ("", ()))
                samples.append(Sample(file, label, group, votes))
        return samples

    def read_table(self, labels: tuple[str, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Reads person and votes from ``labels.csv``, by file name relative to the root."""
        file = self.root / "labels.csv"
        if not file.is_file():
            return {}
        table = {}
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    votes = tuple(int(v) for v in row.get("votes", "").split())
                    table[row["file"]] = row.get("subject", ""), votes
                except (KeyError, ValueError, AttributeError) as error:
                    raise DataError(
                        f"Line {number} of {file} cannot be read: {row}.",
                        allowed="Allowed: the column file, and subject, votes or both; votes are whole numbers in the "
                        "order of the classes.",
                        remedy="Correct the line.",
                    ) from error
                if votes and len(votes) != len(labels):
                    raise DataError(
                        f"Line {number} of {file} has {len(votes)} votes.",
                        allowed=f"Allowed: one for each of the {len(labels)} classes, or none.",
                        remedy="Correct the line.",
                    )
        return table
