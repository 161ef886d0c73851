"""What every runtime offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arbex.errors import BackendError, BundleError


class Prediction(NamedTuple):
    """Answers for B images and N classes, float32.

    Attributes:
        corrected: Probabilities after reliability balancing [B, N].
        primary: Probabilities before it [B, N].
        confidence: Of ``corrected``, in [0, 1] [B].
    """

    corrected: NDArray[np.float32]
    primary: NDArray[np.float32]
    confidence: NDArray[np.float32]


def concatenate(parts: list[Prediction]) -> Prediction:
    """Joins predictions of consecutive batches."""
    return Prediction(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Runtime(ABC):
    """Runs one artifact.

    Attributes:
        name: What really runs it, as reports show it.
        side: Side of the input in pixels.
    """

    name: str

    def __init__(self, path: Path, side: int, *, threads: int | None = None) -> None:
        """Loads an artifact.

        Args:
            path: The artifact.
            side: Side of its input in pixels.
            threads: How many to use; the runtime's choice by default.

        Raises:
            MissingPackageError: If the runtime's package is not installed.
            BackendError: If it refuses the artifact; the cause is chained.
        """
        self.path, self.side, self.threads = path, side, threads
        self.load()

    @abstractmethod
    def load(self) -> None:
        """Makes the artifact ready to run."""

    @abstractmethod
    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Answers for a batch that was checked."""

    def run(self, images: NDArray[np.uint8]) -> Prediction:
        """Answers for images.

        Args:
            images: uint8 RGB ``[B, S, S, 3]``, with B at least 1.

        Raises:
            BundleError: If shape or dtype are others.
            BackendError: If the runtime fails; the cause is chained.
        """
        side = self.side
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or len(images) == 0:
            raise BundleError(
                f"The images are {images.dtype} {list(images.shape)}.",
                allowed=f"Expected is uint8 [B, {side}, {side}, 3] with B at least 1.",
                remedy="Read files with runtimes.preprocessing.load, or resize and stack them.",
            )
        try:
            return self.run_batch(images)
        except (RuntimeError, ValueError) as error:  # what both runtimes' own exceptions derive from
            raise BackendError(f"{self.name} failed to run {self.path}: {error}") from error

    def close(self) -> None:  # noqa: B027 - most runtimes release everything with the object
        """Releases what the runtime holds."""

    def __enter__(self) -> Runtime:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the runtime."""
        self.close()
