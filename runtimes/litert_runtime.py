"""LiteRT, under the name that the machine has it: ai-edge-litert or tflite-runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime, concatenate


def import_interpreter() -> Any:
    """Returns the interpreter class of the LiteRT package that is installed.

    Raises:
        MissingPackageError: If there is none.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise MissingPackageError("ai_edge_litert", "running .tflite files", extra="litert") from error
    return Interpreter


class LiteRt(Runtime):
    """Runs ``.tflite`` files, an image at a time."""

    name = "litert"

    def load(self) -> None:
        """Allocates the interpreter and looks up its signature."""
        interpreter = import_interpreter()
        try:
            self.interpreter = interpreter(model_path=str(self.path), num_threads=self.threads)
            self.interpreter.allocate_tensors()
            self.signature = self.interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"LiteRT refuses {self.path}: {error}") from error

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        parts = []
        for image in images:
            # Outputs go by name: the signature lists them in alphabetical order.
            outputs = self.signature(**{INPUT_NAME: image[None]})
            parts.append(Prediction(*(outputs[name] for name in OUTPUT_NAMES)))
        return concatenate(parts)
