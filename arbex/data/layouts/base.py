"""What every layout of a data set on disk offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from arbex.checks import check_choice, check_name
from arbex.data.samples import Sample
from arbex.errors import DataError

ANY = ""
"""Name of the one split of a data set that has none: it serves as each of them."""


class Layout(ABC):
    """A way in which a data set lies on disk.

    Args:
        root: Folder of the data set.
        options: Values of options; those that are left out have their defaults.

    Raises:
        UnsupportedError: If an option or its value is not known.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Allowed values of each option; the first is the default."""

    def __init__(self, root: Path, options: Mapping[str, str]) -> None:
        """Keeps folder and options."""
        self.root = root
        for key, value in options.items():
            check_name("option", key, self.options, of=f"the layout {self.name!r}")
            check_choice(key, value, self.options[key])
        self.chosen = {key: options.get(key, values[0]) for key, values in self.options.items()}

    @abstractmethod
    def splits(self) -> Sequence[str]:
        """Returns which of ``train``, ``val`` and ``test`` there are, or ``ANY`` where images are not split."""

    @abstractmethod
    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the class names in the order of the samples' labels."""

    @abstractmethod
    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the images of a split.

        Args:
            split: One that there is.
            labels: Class order of their labels: a permutation of ``labels(split)``.
        """

    def check_order(self, found: tuple[str, ...], expected: tuple[str, ...]) -> None:  # noqa: B027 - most have none
        """Refuses the order of classes that the data set has of its own, where it must be the model's.

        Raises:
            DataError: If it is another one.
        """

    def missing(self, what: str, expected: str) -> DataError:
        """Returns the error that says that a file or folder of the data set is not there."""
        return DataError(
            f"{self.root} is not in the layout {self.name!r}: {what} is missing.",
            allowed=f"Expected: {expected}.",
            remedy="See docs/data.md for where to get it and how it lies on disk.",
        )


def permuted(votes: Sequence[int], own: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Returns votes in another order of classes."""
    return tuple(int(votes[own.index(name)]) for name in wanted)
