"""An artifact on an emulated processor, as a runtime like any other."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from arbex.errors import BackendError
from runtimes.base import Prediction, Runtime
from runtimes.emulation.child import CODE
from runtimes.emulation.environment import Environment
from runtimes.emulation.processors import Processor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class EmulatedRuntime(Runtime):
    """Runs an artifact in its runtime on an emulated processor, in a process of its own per call."""

    batch = sys.maxsize  # starting the emulator takes longer than most batches

    def __init__(
        self, path: Path, side: int, *, runtime: type[Runtime], processor: Processor, environment: Environment
    ) -> None:
        """Checks that the processor can be emulated.

        Args:
            path: The artifact.
            side: Side of its input in pixels.
            runtime: Its runtime.
            processor: The processor.
            environment: Where the emulator is.

        Raises:
            BackendError: If the emulator is not set up.
        """
        self.runtime, self.processor, self.environment = runtime, processor, environment
        self.name = runtime.name
        super().__init__(path, side)

    def load(self) -> None:
        """Checks that the emulator is set up."""
        self.environment.check(self.processor)

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs images of any number in one process."""
        import numpy as np

        name = f"{self.runtime.__module__}:{self.runtime.__qualname__}"
        with tempfile.TemporaryDirectory() as folder:
            given, out = Path(folder, "images.npy"), Path(folder, "answers.npz")
            np.save(given, images)
            arguments = [name, str(self.path.resolve()), str(self.side), str(given), str(out)]
            command = self.environment.command(self.processor, CODE, *arguments)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not out.is_file():
                raise BackendError(
                    f"{self.name} on {self.processor.name} cannot run {self.path}: {what_happened(done)}.",
                    remedy="If the kernel that it uses needs a newer processor, the artifact does not run on this one.",
                )
            with np.load(out) as answers:
                return Prediction(*(answers[field] for field in Prediction._fields))

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns what may be raised while a process starts."""
        return (OSError,)


def what_happened(done: subprocess.CompletedProcess[str]) -> str:
    """Returns why a process failed, as a clause."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and "warning:" not in line]
    if done.returncode < 0:
        return f"it ended with {signal.Signals(-done.returncode).name}"
    return lines[-1].rstrip(".") if lines else f"it ended with exit code {done.returncode}"
