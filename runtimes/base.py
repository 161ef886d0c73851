"""What every runtime offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arbex.errors import ArbexError, BackendError, InputError

BATCH = 16
"""Images that are handed to a runtime at a time."""


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
        with self.translated("refuses"):
            self.load()

    @abstractmethod
    def load(self) -> None:
        """Makes the artifact ready to run."""

    @abstractmethod
    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Answers for a batch that was checked: uint8 RGB ``[B, S, S, 3]``."""

    @abstractmethod
    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions with which the vendor's package refuses an artifact or fails to run it."""

    @contextmanager
    def translated(self, action: str) -> Iterator[None]:
        """Turns the vendor's exceptions into BackendError, with the cause chained.

        Args:
            action: What the runtime does with the artifact then, for the message: ``refuses``.
        """
        try:
            yield
        except ArbexError:
            raise
        except Exception as error:
            if not isinstance(error, self.vendor_errors()):
                raise
            raise BackendError(f"{self.name} {action} {self.path}: {error}") from error

    def run(self, images: NDArray[np.uint8]) -> Prediction:
        """Answers for images.

        Args:
            images: uint8 RGB ``[B, S, S, 3]``, with B at least 1.

        Raises:
            InputError: If shape or dtype are others.
            BackendError: If the runtime fails; the cause is chained.
        """
        side = self.side
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or len(images) == 0:
            raise InputError(
                f"The images are {images.dtype} {list(images.shape)}.",
                allowed=f"Allowed: uint8 [B, {side}, {side}, 3] with B at least 1.",
                remedy="Read files with runtimes.preprocessing.load, or resize and stack them.",
            )
        with self.translated("fails to run"):
            return self.run_batch(images)

    def run_all(self, images: NDArray[np.uint8]) -> Prediction:
        """Answers for any number of images, in batches; see ``run``."""
        return concatenate([self.run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])

    def close(self) -> None:
        """Releases what the runtime holds; most release everything with the object."""
        return

    def __enter__(self) -> Runtime:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the runtime."""
        self.close()
