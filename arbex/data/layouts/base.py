"""The interface of every layout of a data set on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from arbex.checks import check_choice, check_name
from arbex.data.samples import Sample
from arbex.errors import DataError

FOLDERS = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
"""Classes that folders often have other names for."""

ANY = ""
"""Name of the only split of a data set without splits, which serves as each of them."""


class Layout(ABC):
    """The layout of a data set on disk.

    Args:
        root: Folder of the data set.
        options: Values of options by name; the others have their defaults.

    Raises:
        UnsupportedError: If an option or its value is not known.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Allowed values of each option; the first is the default."""

    def __init__(self, root: Path, options: Mapping[str, str]) -> None:
        """Checks the options."""
        self.root = root
        for key, value in options.items():
            check_name("option", key, self.options, of=f"the layout {self.name!r}")
            self.check_option(key, value)
        self.chosen = {key: options.get(key, values[0]) for key, values in self.options.items()}

    def check_option(self, key: str, value: str) -> None:
        """Checks the value of an option.

        Raises:
            UnsupportedError: If it is not allowed.
        """
        check_choice(key, value, self.options[key])

    @abstractmethod
    def splits(self) -> Sequence[str]:
        """Returns which of ``train``, ``val`` and ``test`` exist, or ``ANY`` alone if the images are not split.

        Raises:
            DataError: If the folder does not hold such a data set.
        """

    @abstractmethod
    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the class names in the order of the samples' labels."""

    @abstractmethod
    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images of a split.

        Args:
            split: One of ``splits()``.
            labels: Class names in the order of the model, a permutation of ``labels(split)``.

        Raises:
            DataError: If the images or their labels cannot be read.
        """

    def oddities(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Yields what a user should know before training on the data, as sentences.

        Args:
            labels: Class names in the order of the model.
        """
        yield from ()

    def check_order(self, found: tuple[str, ...], expected: tuple[str, ...]) -> None:  # noqa: B027 - most layouts have none
        """Checks the order of classes that a data set declares, if any.

        Raises:
            DataError: If it must be the order of the model, and is not.
        """

    def missing(self, what: str, expected: str) -> DataError:
        """Returns the error for a file or folder of the data set that does not exist."""
        return DataError(
            f"{self.root} is not in the layout {self.name!r}: {what} is missing.",
            allowed=f"Allowed: {expected}.",
            remedy="See docs/data.md for where to get it and for its layout on disk.",
        )


def class_of_folder(file: Path, classes: Sequence[str], of: str) -> str:
    """Returns the class that the folder of an image is named after.

    Args:
        file: The image.
        classes: All classes.
        of: Name of the data set, for the error.

    Raises:
        DataError: If it is not named after one of the classes.
    """
    folder = file.parent.name.lower()
    name = FOLDERS.get(folder, folder)
    if name not in classes:
        raise DataError(
            f"{file} is in a folder that is not named after a class of {of}.",
            allowed=f"Allowed: {', '.join(classes)}, and {', '.join(FOLDERS)}.",
            remedy="Rename the folder, or move it out of the data.",
        )
    return name


def permuted(votes: Sequence[int], own: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Returns votes, given for the classes ``own``, in the order of the classes ``wanted``."""
    return tuple(int(votes[own.index(name)]) for name in wanted)
