"""Core AI assets (``.aimodel``), in the reference interpreter of Apple's own package, which runs on Linux as well.

An asset whose bytecode was altered ends the whole process inside that package. A bundle's files are compared with their
digests before anything opens them.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.formats import Format
from runtimes.vendor_output import hidden_output

PACKAGE = Package(
    module="coreai", distribution="coreai-core", purpose="running .aimodel folders (experimental)", extra="coreai"
)
MAIN = "main"
"""Name of the function that an asset holds."""


class EventLoop:
    """An event loop on a thread of its own: the interpreter is asynchronous, and callers may have a loop themselves."""

    def __init__(self) -> None:
        """Starts the thread."""
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="coreai", daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Returns the result of a coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def stop(self) -> None:
        """Ends the thread, from any other one."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def unload(loop: EventLoop, stack: AsyncExitStack) -> None:
    """Unloads an asset and ends its thread."""
    if threading.current_thread() is loop.thread:  # garbage is collected on whatever thread allocates
        threading.Thread(target=unload, args=(loop, stack), name="coreai-unload").start()
        return
    loop.run(stack.aclose())
    loop.stop()


class CoreAi(Runtime):
    """Runs ``.aimodel`` folders, an image at a time. The interpreter computes exactly and slowly, on one thread."""

    name = "coreai"
    unloaded: Any = None

    def load(self) -> None:
        """Compiles the asset for the interpreter, in a folder that vanishes, and loads its function."""
        PACKAGE.require()
        with hidden_output():  # it warns about builds of torch that it does not know
            authoring, self.runtime = PACKAGE.load("authoring"), PACKAGE.load("runtime")
            if not authoring.AIModelAsset.is_valid(self.path):  # the interpreter would end the process
                raise ValueError("it is not an asset of Core AI")
            asset = authoring.AIModelAsset.load(self.path)
            loop, stack = EventLoop(), AsyncExitStack()
            self.loop, self.unloaded = loop, weakref.finalize(self, unload, loop, stack)
            try:
                model = loop.run(stack.enter_async_context(asset.executable()))
                self.function = model.load_function(MAIN)
            except BaseException:
                self.close()  # now: a finalizer might run on the loop's own thread, and wait for itself
                raise

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        parts = []
        for image in images:
            inputs = {INPUT_NAME: self.runtime.NDArray(np.ascontiguousarray(image[None]))}
            outputs = self.loop.run(self.function(inputs))
            parts.append(Prediction(*(np.array(outputs[name].numpy()) for name in OUTPUT_NAMES)))
        return concatenate(parts)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns what the interpreter raises: built-in exceptions only."""
        return (RuntimeError, ValueError, TypeError, KeyError, OSError)

    def close(self) -> None:
        """Unloads the asset."""
        if self.unloaded is not None:
            self.function = None
            self.unloaded()


AIMODEL = Format(name="aimodel", suffix="aimodel", runner=CoreAi.name, packages=(PACKAGE,), runtime=CoreAi)
