"""ONNX files, through ONNX Runtime on the CPU."""

from __future__ import annotations

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime
from runtimes.formats import Format

PACKAGE = Package(module="onnxruntime", distribution="onnxruntime", purpose="running .onnx files", extra="onnxruntime")
QUIET = 3
"""Log level: errors only."""


class OnnxRuntime(Runtime):
    """Runs ``.onnx`` files; any batch size."""

    name = "onnxruntime"

    def load(self) -> None:
        """Builds an inference session on the CPU."""
        onnxruntime = PACKAGE.load()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        if self.threads:
            options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the whole batch at once."""
        return Prediction(*self.session.run(list(OUTPUT_NAMES), {INPUT_NAME: images}))

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns ONNX Runtime's exceptions, which share no base below Exception, and those of its bindings."""
        native = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
        own = (kind for kind in native if isinstance(kind, type) and issubclass(kind, Exception))
        return (*own, RuntimeError, ValueError, TypeError)


ONNX = Format(name="onnx", suffix="onnx", runner=OnnxRuntime.name, packages=(PACKAGE,), runtime=OnnxRuntime)
