"""Running Core AI assets (``.aimodel``) in the interpreter of Apple's own package, which runs on Linux as well.

An asset whose bytecode was altered makes that package end the whole process. The files of a bundle are compared with
their digests before that can happen.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
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


class EventLoop:
    """An event loop on a thread of its own: the interpreter is asynchronous, and callers may have a loop themselves."""

    def __init__(self) -> None:
        """Starts the thread."""
        import asyncio  # slow to import

        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="coreai", daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Returns the result of a coroutine."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def stop(self) -> None:
        """Ends the thread; called from any other one."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def unload(loop: EventLoop, stack: AsyncExitStack) -> None:
    """Unloads an asset and ends its thread."""
    if threading.current_thread() is loop.thread:  # garbage collection may run on any thread
        threading.Thread(target=unload, args=(loop, stack), name="coreai-unload").start()
        return
    loop.run(stack.aclose())
    loop.stop()


class CoreAi(Runtime):
    """Runs ``.aimodel`` folders, one image at a time. The interpreter is exact and slow, and uses one thread."""

    name = "coreai"
    unloaded: Any = None
    names: tuple[str, ...] | None = None

    def load(self) -> None:
        """Compiles the asset for the interpreter, in a temporary folder, and loads its function."""
        PACKAGE.require()
        with hidden_output():  # it warns about versions of torch that it was not tested with
            authoring, self.runtime = PACKAGE.load("authoring"), PACKAGE.load("runtime")
            if not authoring.AIModelAsset.is_valid(self.path):  # the interpreter would end the process
                raise ValueError("it is not an asset of Core AI")
            asset = authoring.AIModelAsset.load(self.path)
            loop, stack = EventLoop(), AsyncExitStack()
            self.names = from_text(asset.metadata.creator_defined_metadata.get(KEY))
            self.loop, self.unloaded = loop, weakref.finalize(self, unload, loop, stack)
            try:
                model = loop.run(stack.enter_async_context(asset.executable()))
                self.function = model.load_function(MAIN)
            except BaseException:
                self.close()  # now, since a finalizer might run on the loop's own thread and wait for itself
                raise

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
            outputs = self.loop.run(self.function(inputs))
            parts.append(Prediction(*(np.array(outputs[name].numpy()) for name in OUTPUT_NAMES)))
        return concatenate(parts)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of the interpreter, which are all built in."""
        return (RuntimeError, ValueError, TypeError, KeyError, OSError)

    def close(self) -> None:
        """Unloads the asset."""
        if self.unloaded is not None:
            self.function = None
            self.unloaded()


AIMODEL = Format(name="aimodel", suffix="aimodel", runner=CoreAi.name, packages=(PACKAGE,), runtime=CoreAi)
