"""Images on which artifacts are compared with PyTorch; any folder of faces will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from arbex.errors import DataError
from arbex.images import find_images, split_folders
from arbex.progress import Step
from runtimes.base import Prediction
from runtimes.comparison import Comparison
from runtimes.limits import Limits
from runtimes.preprocessing import load

PART: Final = 256
"""Number of images that are decoded and compared at a time."""


class Pixels(Protocol):
    """Images that can be decoded piece by piece; a NumPy array is one that has been."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, part: slice, /) -> NDArray[np.uint8]:
        """Returns images, uint8 RGB ``[n, S, S, 3]``."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files that are decoded whenever they are needed, since not every set fits into memory.

    Attributes:
        files: The files.
        side: Side to which they are resized, in pixels.
    """

    files: Sequence[Path]
    side: int

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        """Returns images, uint8 RGB ``[n, S, S, 3]``.

        Raises:
            DataError: If one cannot be read.
        """
        return np.stack([load(file, self.side) for file in self.files[part]])


@dataclass(frozen=True, kw_only=True)
class ComparisonImages:
    """Images with PyTorch's answers, and the limits that hold for them.

    Attributes:
        images: The images, of n.
        expected: PyTorch's answers.
        labels: Classes [n]; None if they are not known.
        groups: Names of the images' groups [n]; None without groups.
        names: Names of the images [n]; empty if they have none.
        limits: Limits on these images in place of the artifact's.
        undecided_passes: Whether limits may hold only perhaps, because these are too few images to decide.
    """

    images: Pixels
    expected: Prediction
    labels: NDArray[np.integer] | None = None
    groups: NDArray[np.str_] | None = None
    names: Sequence[str] = ()
    limits: Limits = field(default_factory=dict)
    undecided_passes: bool = False

    def compare(
        self, answers: Callable[[NDArray[np.uint8]], Prediction], classes: Sequence[str], step: Step
    ) -> Comparison:
        """Compares an artifact's answers with PyTorch's, a part of the images at a time.

        Args:
            answers: Returns the artifact's answers for images.
            classes: Names of the classes.
            step: Receives how many images have been compared.
        """
        comparison = Comparison(classes)
        for start in range(0, len(self.images), PART):
            part = slice(start, start + PART)
            images = self.images[part]
            found = answers(images)
            comparison.add(
                Prediction(*(values[part] for values in self.expected)),
                found,
                None if self.labels is None else self.labels[part],
                None if self.groups is None else self.groups[part],
                images,
                self.names[part],
            )
            step(start + len(found.corrected))
        return comparison


def list_images(
    data: str, split: str, labels: tuple[str, ...], limit: int | None
) -> tuple[list[Path], NDArray[np.int64] | None]:
    """Lists image files, with their classes if the folders are named after them.

    Args:
        data: Folder with or without splits and classes, ``PATH`` or ``folder:PATH``.
        split: Split to use, if there are splits.
        labels: The bundle's classes.
        limit: Largest number of files, chosen evenly; None lists all.

    Returns:
        The files, and their classes [n] if every file lies in a folder of a class.

    Raises:
        DataError: If the folder is missing or holds no images.
    """
    root = Path(data.removeprefix("folder:"))
    if not root.exists():
        raise DataError(f"The data folder {root} does not exist.", remedy="Give a folder of images.")
    splits = split_folders(root) if root.is_dir() else {}
    if splits and split not in splits:
        raise DataError(f"{root} has no split {split!r}.", allowed=f"Allowed: {', '.join(splits)}.")
    folder = splits.get(split, root)
    files = find_images(folder)
    if not files:
        raise DataError(f"{folder} holds no images.", remedy="Give a folder of images.")
    if limit and len(files) > limit:
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    names = [class_folder(folder, file) for file in files]
    if not set(names) <= set(labels):
        return files, None
    return files, np.array([labels.index(name) for name in names])


def class_folder(folder: Path, file: Path) -> str:
    """Returns the name of the first folder between a folder and a file below it; images may lie deeper."""
    parts = file.relative_to(folder).parts if file != folder else ()
    return parts[0] if len(parts) > 1 else ""
