"""The interface of all runtimes, and the predictions that they return.

The registry of formats imports it for the help screens, which is why NumPy is imported on first use here and in all
modules of runtimes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from arbex.errors import ArbexError, BackendError, InputError, UnsupportedError, reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 16
"""Number of images per batch."""


class Prediction(NamedTuple):
    """Answers for B images and N classes, float32.

    Attributes:
        corrected: Probabilities after reliability balancing [B, N].
        primary: Probabilities before it [B, N].
        confidence: Confidence of ``corrected`` [B], in [0, 1].
    """

    corrected: NDArray[np.float32]
    primary: NDArray[np.float32]
    confidence: NDArray[np.float32]


def concatenate(parts: list[Prediction]) -> Prediction:
    """Joins predictions of consecutive batches."""
    import numpy as np

    return Prediction(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Runtime(ABC):
    """Runs one artifact.

    Attributes:
        name: Name of the runtime, as reports show it.
        fuses: Whether it computes several operators at once, so that ``values`` lacks those between them.
        repeats: Whether it gives the same answers on all processors, even where it rounds to float16.
        batch: Number of images that ``run_all`` runs at a time.
        side: Side of the input in pixels.
    """

    name: str
    batch: int = BATCH
    fuses: bool = False
    repeats: bool = False

    def __init__(self, path: Path, side: int, *, threads: int | None = None) -> None:
        """Loads an artifact.

        Args:
            path: The artifact.
            side: Side of its input in pixels.
            threads: Number of threads; by default the runtime's choice.

        Raises:
            MissingPackageError: If the runtime's package is not installed.
            BackendError: If the runtime cannot load the artifact; the cause is chained.
        """
        self.path, self.side, self.threads = path, side, threads
        with self.translated("cannot load"):
            self.load()

    @abstractmethod
    def load(self) -> None:
        """Loads the artifact into the runtime."""

    @classmethod
    def alone(cls) -> type[Runtime]:
        """Returns what runs the same files in a process that does nothing else: itself, unless it makes a process."""
        return cls

    @abstractmethod
    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Returns the answers for a batch whose shape and dtype were checked: uint8 RGB ``[B, S, S, 3]``."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names that the file itself holds, in the order of its outputs; None if it holds none."""
        return None

    @abstractmethod
    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions that the vendor's package raises when it cannot load or run an artifact."""

    @contextmanager
    def translated(self, action: str) -> Iterator[None]:
        """Turns the vendor's exceptions into BackendError, with the cause chained.

        Args:
            action: What failed, for the message, such as ``cannot load``.
        """
        try:
            yield
        except ArbexError:
            raise
        except Exception as error:
            if not isinstance(error, self.vendor_errors()):
                raise
            raise BackendError(
                f"{self.name} {action} {self.path}: {reason(error)}.",
                remedy=f"Check which version of {self.name} is installed with: arbex doctor.",
            ) from error

    def run(self, images: NDArray[np.uint8]) -> Prediction:
        """Returns the answers for a batch of images.

        Args:
            images: uint8 RGB ``[B, S, S, 3]``, with B at least 1.

        Raises:
            InputError: If shape or dtype do not fit.
            BackendError: If the runtime fails; the cause is chained.
        """
        import numpy as np

        side = self.side
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or len(images) == 0:
            raise InputError(
                f"The images are {images.dtype} {list(images.shape)}.",
                allowed=f"Allowed: uint8 [B, {side}, {side}, 3] with B at least 1.",
                remedy="Read files with runtimes.preprocessing.load, or resize and stack them.",
            )
        with self.translated("cannot run"):
            return self.run_batch(images)

    def run_all(self, images: NDArray[np.uint8]) -> Prediction:
        """Returns the answers for any number of images, in batches; see ``run``."""
        return concatenate([self.run(images[i : i + self.batch]) for i in range(0, len(images), self.batch)])

    @contextmanager
    def unrounded(self) -> Iterator[Runtime]:
        """Yields what runs the same file without rounding any value to float16, if there is such a runtime.

        Such rounding depends on the order in which a processor adds. See ``rounds_to_half``.

        Raises:
            MissingPackageError: If it needs a package that is not installed.
        """
        yield self

    @property
    def rounds_to_half(self) -> bool:
        """Whether the file declares values in float16 that ``unrounded`` keeps in float32.

        Raises:
            MissingPackageError: If it takes a package to tell, and that is not installed.
        """
        return False

    def values(self, image: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Returns everything that the file computes for an image, by the names that it gives to values.

        The outputs are among them, under the names that bundles have for them.

        Values in 8 bits are returned as the numbers that they stand for. Constants may be among them.

        Args:
            image: uint8 RGB ``[1, S, S, 3]``.

        Raises:
            UnsupportedError: If the runtime keeps them to itself.
            MissingPackageError: If it needs a package that is not installed.
        """
        raise UnsupportedError(
            f"{self.name} does not show the values inside {self.path.name}.",
            remedy="Look for the difference in the ONNX, LiteRT or Core ML file of the same run.",
        )

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
