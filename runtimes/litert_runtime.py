"""Running TFLite files through LiteRT, whose package is ai-edge-litert or, on older boards, tflite-runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.class_names import appended_labels
from runtimes.formats import Format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGES = (
    Package(module="ai_edge_litert", distribution="ai-edge-litert", purpose="running .tflite files", extra="litert"),
    Package(
        module="tflite_runtime",
        distribution="tflite-runtime",
        purpose="running .tflite files on older boards",
        remedy="pip install 'arbex[tflite-runtime]' (Python 3.11 or older, NumPy 1)",
    ),
)
"""Packages of LiteRT; the first one that is installed is used."""


class LiteRt(Runtime):
    """Runs ``.tflite`` files, one image at a time."""

    name = "litert"

    def load(self) -> None:
        """Allocates the interpreter and looks up its signature."""
        package = next((package for package in PACKAGES if package.is_installed), PACKAGES[0])
        self.interpreter = package.load("interpreter").Interpreter(model_path=str(self.path), num_threads=self.threads)
        self.interpreter.allocate_tensors()
        self.signature = self.interpreter.get_signature_runner()

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the archive after the model."""
        return appended_labels(self.path)

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        parts = []
        for image in images:
            # By name, since the signature lists outputs in alphabetical order.
            outputs = self.signature(**{INPUT_NAME: image[None]})
            parts.append(Prediction(*(outputs[name] for name in OUTPUT_NAMES)))
        return concatenate(parts)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of its interpreter, which are all built in."""
        return (RuntimeError, ValueError, TypeError, KeyError)


TFLITE = Format(name="tflite", suffix="tflite", runner=LiteRt.name, packages=PACKAGES, runtime=LiteRt, portable=True)
