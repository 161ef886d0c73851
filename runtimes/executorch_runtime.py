"""Running ExecuTorch programs through its Python bindings and XNNPACK. Python needs torch for it; a phone does not."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from arbex.errors import BackendError
from arbex.packages import Package
from arbex.spec import OUTPUT_NAMES
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.class_names import KEY as LABELS_METHOD
from runtimes.class_names import from_text
from runtimes.formats import Format
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = Package(module="executorch", distribution="executorch", purpose="running .pte files", extra="executorch")
TORCH = Package(module="torch", distribution="torch", purpose="running .pte files in Python", extra="executorch")

FORWARD = "forward"
NAMES_METHOD = "output_names"
"""Method of a file that returns the names of the outputs in their order: a ``.pte`` has no other place for names."""


class ThreadPool:
    """The one thread pool that all programs of a process share.

    Changing its size frees the pool that loaded programs hold, which then write into freed memory. So the size changes
    only while no program is loaded.
    """

    def __init__(self) -> None:
        """Starts without programs."""
        self.users = 0
        self.usual: int | None = None

    def claim(self, bindings: Any, threads: int | None) -> None:
        """Counts a program, and gives the pool the size that it asks for, by default the initial one.

        Raises:
            BackendError: If a loaded program uses another number of threads.
        """
        size = bindings._threadpool_get_thread_count()
        self.usual = self.usual or size
        wanted = threads or (size if self.users else self.usual)
        if wanted != size:
            if self.users:
                raise BackendError(
                    f"ExecuTorch runs another program with {size} threads, and all programs of a process share them.",
                    remedy=f"Close that runtime first, or ask for {size} threads.",
                )
            bindings._unsafe_reset_threadpool(wanted)
        self.users += 1

    def release(self) -> None:
        """Counts a program that was closed or collected."""
        self.users -= 1


POOL = ThreadPool()


class ExecuTorch(Runtime):
    """Runs ``.pte`` files, one image at a time."""

    name = "executorch"
    program: Any = None
    method: Any = None
    names: tuple[str, ...] | None = None

    def load(self) -> None:
        """Loads the program and its method, and checks that its outputs are those of a bundle."""
        PACKAGE.require()
        self.torch = TORCH.load()  # the bindings need its libraries, but do not load them
        # The package executorch.runtime wraps the same, but imports the whole exporter, which takes 2.5 seconds.
        bindings = PACKAGE.load("extension.pybindings._C")
        POOL.claim(bindings, self.threads)
        self.released = weakref.finalize(self, POOL.release)
        with hidden_output():  # loading prints the features of the processor
            checks = bindings.Verification.InternalConsistency
            self.program = bindings._load_program(str(self.path), program_verification=checks)
            self.method = self.program.load_method(FORWARD)
            if LABELS_METHOD in map(self.program.get_method_name, range(self.program.num_methods())):
                self.names = from_text(self.program.load_method(LABELS_METHOD)([])[0])
            names = self.program.load_method(NAMES_METHOD)([])[0].split(",")
        if tuple(names) != OUTPUT_NAMES:
            raise BackendError(
                f"The outputs of {self.path} are {', '.join(names)}.", allowed=f"Allowed: {', '.join(OUTPUT_NAMES)}."
            )

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names that a method of the file returns."""
        return self.names

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        import numpy as np

        parts = []
        for image in images:
            # A copy, since torch warns about read-only arrays.
            outputs = self.method([self.torch.from_numpy(np.array(image[None], order="C"))])
            parts.append(Prediction(*(output.numpy() for output in outputs)))
        return concatenate(parts)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of its bindings, which are all built in."""
        return (RuntimeError, ValueError, TypeError)

    def close(self) -> None:
        """Frees the program, after which the number of threads may change."""
        if self.program is not None:
            self.method = self.program = None
            self.released()


PTE = Format(name="pte", suffix="pte", runner=ExecuTorch.name, packages=(PACKAGE,), runtime=ExecuTorch)
