"""The layout ``rafdb``: the basic expressions of RAF-DB (Li, Deng, Du 2017).

basic/EmoLabel/list_patition_label.txt      one line per image, such as "train_00001.jpg 5"
basic/Image/aligned/train_00001_aligned.jpg
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arbex.data.layouts.base import Layout
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.spec import EXPRESSIONS

CODES = {"1": "surprise", "2": "fear", "3": "disgust", "4": "happiness", "5": "sadness", "6": "anger", "7": "neutral"}
LIST = Path("EmoLabel/list_patition_label.txt")  # spelled so by its authors


class RafDb(Layout):
    """The folder ``basic``, or its parent."""

    name = "rafdb"

    @property
    def basic(self) -> Path:
        """Folder with ``EmoLabel`` and ``Image``."""
        return self.root / "basic" if (self.root / "basic").is_dir() else self.root

    def splits(self) -> Sequence[str]:
        """Returns ``train`` and ``test``; RAF-DB has no validation split."""
        if not (self.basic / LIST).is_file():
            raise self.missing(str(LIST), f"basic/{LIST} and basic/Image/aligned")
        return "train", "test"

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions."""
        return EXPRESSIONS

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the aligned images of a split; their names begin with the name of the split."""
        found = []
        lines = (self.basic / LIST).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            name, _, code = line.strip().partition(" ")
            if not name:
                continue
            if code.strip() not in CODES:
                raise DataError(
                    f"Line {number} of {self.basic / LIST} cannot be read: {line!r}.",
                    allowed="Allowed: a file name and a number from 1 to 7.",
                    remedy="Correct the line, or download the data set again.",
                )
            if name.startswith(f"{split}_"):
                found.append(Sample(self.image(name), labels.index(CODES[code.strip()])))
        return found

    def image(self, name: str) -> Path:
        """Returns the aligned image for a name in the list, ``x_aligned.jpg`` for ``x.jpg``."""
        stem, _, suffix = name.rpartition(".")
        return self.basic / "Image" / "aligned" / f"{stem}_aligned.{suffix}"
