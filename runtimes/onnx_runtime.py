"""Running ONNX files through ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime
from runtimes.class_names import KEY, from_text
from runtimes.formats import Format
from runtimes.onnx_values import with_all_outputs
from runtimes.onnx_widening import holds_half, widened
from runtimes.saturation import sums_saturate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = Package(module="onnxruntime", distribution="onnxruntime", purpose="running .onnx files", extra="onnxruntime")
QUIET = 3
"""Log level: errors only."""

EXACT_SUMS = "session.x64quantprecision"
"""Option of a session: weights become uint8, for which the sums of every x86 processor are exact."""


def session_options(threads: int | None = None) -> Any:
    """Returns options of a session with which all processors compute an INT8 file alike.

    Args:
        threads: Number of threads; by default ONNX Runtime's choice.
    """
    onnxruntime = PACKAGE.load()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    if sums_saturate(onnxruntime):  # elsewhere the option would only cost time
        options.add_session_config_entry(EXACT_SUMS, "1")
    if threads:
        options.intra_op_num_threads = threads
    return options


class OnnxRuntime(Runtime):
    """Runs ``.onnx`` files, with any batch size."""

    name = "onnxruntime"

    def load(self) -> None:
        """Builds an inference session on the CPU."""
        options, providers = session_options(self.threads), ["CPUExecutionProvider"]
        self.session = PACKAGE.load().InferenceSession(str(self.path), options, providers=providers)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the metadata of the file."""
        return from_text(self.session.get_modelmeta().custom_metadata_map.get(KEY))

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the whole batch at once."""
        return Prediction(*self.session.run(list(OUTPUT_NAMES), {INPUT_NAME: images}))

    @contextmanager
    def unrounded(self) -> Iterator[Runtime]:
        """Yields what runs a copy of the file that holds everything in float32."""
        with TemporaryDirectory() as folder:
            copy = Path(folder) / self.path.name
            copy.write_bytes(widened(self.path))
            with type(self)(copy, self.side, threads=self.threads) as runtime:
                yield runtime

    @property
    def rounds_to_half(self) -> bool:
        """Whether the file holds numbers in float16."""
        return holds_half(self.path)

    def values(self, image: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Returns everything that the file computes for an image; see ``Runtime.values``.

        No operators are fused, so that all values exist.
        """
        content, onnxruntime = with_all_outputs(self.path), PACKAGE.load()
        options = session_options(self.threads)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with self.translated("cannot run"):
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            return dict(zip(names, session.run(names, {INPUT_NAME: image}), strict=True))

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns ONNX Runtime's exceptions, which have no common base but Exception, and those of its bindings."""
        native = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
        own = (kind for kind in native if isinstance(kind, type) and issubclass(kind, Exception))
        return (*own, RuntimeError, ValueError, TypeError)


ONNX = Format(
    name="onnx", suffix="onnx", runner=OnnxRuntime.name, packages=(PACKAGE,), runtime=OnnxRuntime, portable=True
)
