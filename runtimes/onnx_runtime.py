"""ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime

QUIET = 3
"""Log level: errors only."""


class OnnxRuntime(Runtime):
    """Runs ``.onnx`` files; any batch size."""

    name = "onnxruntime"

    def load(self) -> None:
        """Builds an inference session on the CPU."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingPackageError("onnxruntime", f"running {self.path.name}", extra="onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        if self.threads:
            options.intra_op_num_threads = self.threads
        try:
            self.session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base below Exception
            raise BackendError(f"ONNX Runtime refuses {self.path}: {error}") from error

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the whole batch at once."""
        return Prediction(*self.session.run(list(OUTPUT_NAMES), {INPUT_NAME: images}))
