"""Data sets of few people that have no splits: each split is given people of its own."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from arbex.data.layouts.base import Layout
from arbex.data.samples import Sample
from arbex.images import Box, find_images
from arbex.spec import EXPRESSIONS

TEST_PEOPLE = 5
"""Every 5th person in the order of their names is in the test split."""


class PersonsFace(NamedTuple):
    """One image: its file, person and expression, and where the face is in it (None for the whole image)."""

    file: Path
    person: str
    expression: str
    box: Box | None = None


class PeopleLayout(Layout):
    """Images of known people, without splits of their own."""

    example: ClassVar[str]
    """Name of an image, for errors."""

    other_form: ClassVar[str] = ""
    """What the folder may hold instead, for errors."""

    @abstractmethod
    def find_faces(self) -> list[PersonsFace]:
        """Returns all images in a fixed order.

        Raises:
            DataError: If labels cannot be read.
        """

    @cached_property
    def faces(self) -> list[PersonsFace]:
        """All images, in a fixed order."""
        return self.find_faces()

    def splits(self) -> Sequence[str]:
        """Returns ``train`` and ``test``."""
        if not self.faces:
            raise self.missing(f"an image such as {self.example}", f"{self.example}, at any depth{self.other_form}")
        return "train", "test"

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions."""
        return EXPRESSIONS

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images of the people in a split."""
        testing = set(sorted({face.person for face in self.faces})[::TEST_PEOPLE])
        return [
            Sample(face.file, labels.index(face.expression), group=face.person, box=face.box)
            for face in self.faces
            if (face.person in testing) == (split == "test")
        ]


class NamedFaces(PeopleLayout):
    """Images whose names hold the person and the expression."""

    codes: ClassVar[Mapping[str, str]]
    """Expression of each code in a file name."""

    pattern: ClassVar[re.Pattern[str]]
    """Pattern of a file name, with the groups ``person`` and ``code``."""

    def find_faces(self) -> list[PersonsFace]:
        """Returns the images; files with other names are left out."""
        matches = ((file, self.pattern.fullmatch(file.name)) for file in find_images(self.root))
        return [
            PersonsFace(file, match["person"], self.codes[match["code"].lower()]) for file, match in matches if match
        ]
