"""TFLite files, through LiteRT under the name that the machine has it: ai-edge-litert or tflite-runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.formats import Format

PACKAGES = (
    Package(module="ai_edge_litert", distribution="ai-edge-litert", purpose="running .tflite files", extra="litert"),
    Package(
        module="tflite_runtime",
        distribution="tflite-runtime",
        purpose="running .tflite files on older boards",
        remedy="pip install 'arbex[tflite-runtime]' (Python 3.11 or older, NumPy 1)",
    ),
)
"""The first one that is installed runs the files."""


class LiteRt(Runtime):
    """Runs ``.tflite`` files, an image at a time."""

    name = "litert"

    def load(self) -> None:
        """Allocates the interpreter and looks up its signature."""
        package = next((package for package in PACKAGES if package.is_installed), PACKAGES[0])
        self.interpreter = package.load("interpreter").Interpreter(model_path=str(self.path), num_threads=self.threads)
        self.interpreter.allocate_tensors()
        self.signature = self.interpreter.get_signature_runner()

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        parts = []
        for image in images:
            # Outputs go by name: the signature lists them in alphabetical order.
            outputs = self.signature(**{INPUT_NAME: image[None]})
            parts.append(Prediction(*(outputs[name] for name in OUTPUT_NAMES)))
        return concatenate(parts)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns what its interpreter raises: built-in exceptions only."""
        return (RuntimeError, ValueError, TypeError, KeyError)


TFLITE = Format(name="tflite", suffix="tflite", runner=LiteRt.name, packages=PACKAGES, runtime=LiteRt)
