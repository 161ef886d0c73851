"""Running Core AI assets (``.aimodel``) in Apple's own package: on a Mac with Core AI, elsewhere in its interpreter."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.apart import RuntimeApart
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.class_names import KEY, from_text
from runtimes.formats import Format
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = Package(
    module="coreai", distribution="coreai-core", purpose="running .aimodel folders (experimental)", extra="coreai"
)
MAIN = "main"
"""Name of the function in an asset."""

ERRORS: Final = (RuntimeError, ValueError, TypeError, KeyError, OSError)


class CoreAiInside(Runtime):
    """Runs ``.aimodel`` folders in this process, one image at a time.

    The interpreter is slow, uses one thread, and computes in software: QEMU's Haswell, Nehalem and newest x86 processor
    and a native one gave the same answers to the last bit, in float32 and in INT8 with float16.
    """

    name = "coreai" if sys.platform == "darwin" else "coreai-interpreter"

    def load(self) -> None:
        """Compiles the asset for the interpreter, in a temporary folder, and loads its function."""
        import asyncio  # slow to import

        with hidden_output():  # it warns about versions of torch that it was not tested with
            authoring, self.runtime = PACKAGE.load("authoring"), PACKAGE.load("runtime")
            if not authoring.AIModelAsset.is_valid(self.path):  # the interpreter would end the process
                raise ValueError("it is not an asset of Core AI")
            asset = authoring.AIModelAsset.load(self.path)
            self.names = from_text(asset.metadata.creator_defined_metadata.get(KEY))
            self.loop, self.stack = asyncio.new_event_loop(), AsyncExitStack()
            model = self.loop.run_until_complete(self.stack.enter_async_context(asset.executable()))
            self.function = model.load_function(MAIN)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the metadata of the asset."""
        return self.names

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        import numpy as np

        parts = []
        for image in images:
            inputs = {INPUT_NAME: self.runtime.NDArray(np.ascontiguousarray(image[None]))}
            outputs = self.loop.run_until_complete(self.function(inputs))
            parts.append(Prediction(*(np.array(outputs[name].numpy()) for name in OUTPUT_NAMES)))
        return concatenate(parts)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of the interpreter, which are all built in."""
        return ERRORS

    def close(self) -> None:
        """Unloads the asset and removes the temporary folder."""
        self.loop.run_until_complete(self.stack.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class CoreAi(RuntimeApart):
    """Runs ``.aimodel`` folders in a child process.

    The interpreter ends its process where an asset's bytecode was altered, and at times when it is unloaded at exit.
    """

    name, inside = CoreAiInside.name, CoreAiInside
    repeats = sys.platform != "darwin"

    def load(self) -> None:
        """Checks that the package is there, and starts the child."""
        PACKAGE.require()
        super().load()

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of the interpreter, which are all built in, as are those of starting a process."""
        return ERRORS


AIMODEL = Format(name="aimodel", suffix="aimodel", runner=CoreAi.name, packages=(PACKAGE,), runtime=CoreAi)
