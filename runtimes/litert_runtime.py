"""Running TFLite files through LiteRT, whose package is ai-edge-litert or, on older boards, tflite-runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    fuses = True

    def load(self) -> None:
        """Allocates the interpreter and looks up its signature."""
        package = installed_package()
        if package is not PACKAGES[0]:
            # Its kernels round twice where today's round once, so that it cannot be held to their answers.
            self.name = package.distribution
        self.interpreter = vendor_module().Interpreter(model_path=str(self.path), num_threads=self.threads)
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

    def values(self, image: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Returns everything that the file computes for an image; see ``Runtime.values``.

        It runs on TensorFlow Lite's own kernels instead of XNNPACK's, which keep what is between them to themselves.
        """
        module = vendor_module()
        with self.translated("cannot run"):
            interpreter = module.Interpreter(
                model_path=str(self.path),
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            found = dict(interpreter.get_signature_runner()(**{INPUT_NAME: image}))
            for tensor in interpreter.get_tensor_details():
                value = read_tensor(interpreter, tensor)
                if value is not None:
                    found[f"{tensor['index']} {tensor['name']}"] = value
            return found

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of its interpreter, which are all built in."""
        return (RuntimeError, ValueError, TypeError, KeyError)


def installed_package() -> Package:
    """Returns the package of LiteRT that is installed, or the one to install."""
    return next((package for package in PACKAGES if package.is_installed), PACKAGES[0])


def vendor_module() -> Any:
    """Returns the module with the interpreter, of the package that is installed.

    Raises:
        MissingPackageError: If none is.
    """
    return installed_package().load("interpreter")


def read_tensor(interpreter: Any, tensor: dict[str, Any]) -> NDArray[np.float32] | None:
    """Returns a tensor as the numbers that it stands for; None if it is neither in float32 nor in 8 bits."""
    import numpy as np

    try:
        value = interpreter.get_tensor(tensor["index"])
    except ValueError:  # it holds nothing
        return None
    quantization = tensor["quantization_parameters"]
    if value.dtype == np.int8 and len(quantization["scales"]) == 1:
        value = (value - np.float32(quantization["zero_points"][0])) * np.float32(quantization["scales"][0])
    return value if value.dtype == np.float32 else None


TFLITE = Format(name="tflite", suffix="tflite", runner=LiteRt.name, packages=PACKAGES, runtime=LiteRt, portable=True)
