"""Data sets of few people that have no splits: each split is given people of its own.

By default, every 5th person is in the test split. With the option ``fold=i/n``, the people are dealt out to n folds in
the order of their names, and fold i is the test split; with as many folds as people, one is left out at a time.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from arbex.data.layouts.base import Layout
from arbex.data.samples import Sample
from arbex.errors import InputError
from arbex.images import Box, find_images
from arbex.spec import EXPRESSIONS

TEST_PEOPLE = 5
"""Every 5th person in the order of their names is in the test split."""

FOLD = "fold"
"""Option: which part of the people is the test split, as ``i/n``."""


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

    options = {FOLD: ("",)}

    other_form: ClassVar[str] = ""
    """What the folder may hold instead, for errors."""

    @abstractmethod
    def find_faces(self) -> list[PersonsFace]:
        """Returns all images in a fixed order.

        Raises:
            DataError: If labels cannot be read.
        """

    def check_option(self, key: str, value: str) -> None:
        """Checks the value of an option.

        Raises:
            InputError: If a fold is not of the form ``i/n``, or there is no such part.
        """
        if key != FOLD:
            super().check_option(key, value)
            return
        found = re.fullmatch(r"(\d+)/(\d+)", value)
        if not found or not 1 <= int(found[1]) <= int(found[2]) or int(found[2]) < 2:
            raise InputError(f"{FOLD} is {value!r}.", allowed="Allowed: i/n, such as 1/10, with i from 1 to n.")

    @cached_property
    def people(self) -> list[str]:
        """The people in the order of their names."""
        return sorted({face.person for face in self.faces})

    def testing(self) -> set[str]:
        """Returns the people of the test split.

        Raises:
            InputError: If there are more folds than people.
        """
        if not self.chosen[FOLD]:
            return set(self.people[::TEST_PEOPLE])
        part, parts = map(int, self.chosen[FOLD].split("/"))
        if parts > len(self.people):
            raise InputError(
                f"{self.root} has {len(self.people)} people, which cannot be dealt out to {parts} folds.",
                allowed=f"Allowed: 2 to {len(self.people)} folds.",
            )
        return set(self.people[part - 1 :: parts])

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
        testing = self.testing()
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
