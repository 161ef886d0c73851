"""Images on which artifacts are compared with PyTorch; any folder of faces will do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbex.errors import DataError
from arbex.images import find_images
from arbex.spec import SPLITS
from runtimes.base import Prediction


@dataclass(frozen=True, kw_only=True)
class ComparisonImages:
    """Images with PyTorch's answers, and the limits that hold for them.

    Attributes:
        images: uint8 ``[n, S, S, 3]``.
        expected: PyTorch's answers.
        labels: Classes [n]; None if they are not known.
        max_kl: Largest mean KL on these images; None stands for the artifact's limit.
        min_agreement: Smallest top-1 agreement on these images; None stands for the artifact's limit.
    """

    images: NDArray[np.uint8]
    expected: Prediction
    labels: NDArray[np.integer] | None = None
    max_kl: float | None = None
    min_agreement: float | None = None


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
    named = [root / name for name in SPLITS[split] if (root / name).is_dir()]
    others = [name for names in SPLITS.values() for name in names if (root / name).is_dir()]
    if others and not named:
        raise DataError(f"{root} has no split {split!r}.", allowed=f"Allowed: {', '.join(others)}.")
    files = find_images(named[0] if named else root)
    if not files:
        raise DataError(f"{named[0] if named else root} holds no images.", remedy="Give a folder of images.")
    if limit and len(files) > limit:
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    if not all(file.parent.name in labels for file in files):
        return files, None
    return files, np.array([labels.index(file.parent.name) for file in files])
