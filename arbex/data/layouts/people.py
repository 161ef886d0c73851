"""Data sets of few people that have no splits: each split is given people of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from arbex.data.layouts.base import Layout
from arbex.data.samples import Sample
from arbex.images import find_images
from arbex.spec import EXPRESSIONS

TEST_PEOPLE = 5
"""Every 5th person in the order of their names is in the test split."""


class NamedFaces(Layout):
    """Images whose names hold the person and the expression."""

    codes: ClassVar[Mapping[str, str]]
    """Expression of each code in a file name."""

    pattern: ClassVar[re.Pattern[str]]
    """Pattern of a file name, with the groups ``person`` and ``code``."""

    expected: ClassVar[str]
    """Example of a file name, for errors."""

    def splits(self) -> Sequence[str]:
        """Returns ``train`` and ``test``."""
        if not self.images():
            raise self.missing(f"an image such as {self.expected}", f"{self.expected}, at any depth")
        return "train", "test"

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions."""
        return EXPRESSIONS

    def images(self) -> list[tuple[Path, str, str]]:
        """Returns each image with its person and the code of its expression; files with other names are left out."""
        matches = ((file, self.pattern.fullmatch(file.name)) for file in find_images(self.root))
        return [(file, match["person"], match["code"]) for file, match in matches if match]

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images of the people in a split."""
        images = self.images()
        testing = set(sorted({person for _, person, _ in images})[::TEST_PEOPLE])
        return [
            Sample(file, labels.index(self.codes[code.lower()]), group=person)
            for file, person, code in images
            if (person in testing) == (split == "test")
        ]
