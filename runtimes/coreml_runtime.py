"""Running Core ML packages: by Core ML itself on a Mac, and by this project's evaluator on any other system."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.class_names import KEY, from_text
from runtimes.coreml_evaluator.package_files import READER
from runtimes.coreml_package import read_content
from runtimes.formats import Format
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TORCH = Package(module="torch", distribution="torch", purpose="evaluating Core ML packages", extra="coreml")
EVALUATOR_PACKAGES = (READER, TORCH)
"""Packages that evaluate Core ML packages."""


class CoreMl(Runtime):
    """Runs ``.mlpackage`` folders with Core ML on a Mac, one image at a time."""

    name = "coreml"

    def load(self) -> None:
        """Compiles the package; Core ML chooses between the CPU, the GPU and the Neural Engine."""
        with hidden_output():
            self.model = READER.load().models.MLModel(str(self.path))

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the metadata of the package."""
        return from_text(self.model.user_defined_metadata.get(KEY))

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one."""
        from PIL import Image

        return concatenate([prediction(self.model.predict({INPUT_NAME: Image.fromarray(one)})) for one in images])

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of coremltools' bindings, which derive from Exception alone in part."""
        return (Exception,)


class CoreMlEvaluator(Runtime):
    """Evaluates ``.mlpackage`` folders in PyTorch on the CPU, one image at a time.

    Every value that the package declares in float16 is rounded to it. How a device computes inside an operation is not
    part of a package, and not reproduced.
    """

    name = "coreml-evaluator"
    precision: ClassVar = "fp16"

    def load(self) -> None:
        """Reads the program and computes whatever depends on constants alone."""
        for package in EVALUATOR_PACKAGES:
            package.require()
        from runtimes.coreml_evaluator.program import Program

        self.program = Program.load(self.path, self.precision)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the metadata of the package."""
        return from_text(self.program.metadata.get(KEY))

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Runs the images one by one, as many at the same time as this runtime has threads.

        Each image then has one thread: where several share an operation of microseconds, they wait for each other, on
        a busy machine a hundred times as long as they compute.
        """
        import torch

        before = torch.get_num_threads()
        threads = self.threads or before
        together = 1 if self.program.states else min(threads, len(images))
        torch.set_num_threads(threads // together)
        try:
            with ThreadPoolExecutor(
                together, initializer=torch.set_num_threads, initargs=(threads // together,)
            ) as pool:
                return concatenate(list(pool.map(self.run_one, images)))
        finally:
            torch.set_num_threads(before)

    def run_one(self, image: NDArray[np.uint8]) -> Prediction:
        """Runs one image."""
        return prediction(self.program.run({INPUT_NAME: image}))

    def values(self, image: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Returns everything that the package computes for an image; see ``Runtime.values``."""
        with self.translated("cannot run"):
            return self.program.values({INPUT_NAME: image[0]})

    @contextmanager
    def unrounded(self) -> Iterator[Runtime]:
        """Yields what evaluates the package with every value in float32."""
        yield UnroundedEvaluator(self.path, self.side, threads=self.threads)

    @property
    def rounds_to_half(self) -> bool:
        """Whether it may round: the program says what it declares in float16 only while it is evaluated."""
        return True

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        """Returns the exceptions of PyTorch, which are all built in; those of operations are translated already."""
        return (RuntimeError, ValueError, TypeError)


class UnroundedEvaluator(CoreMlEvaluator):
    """Evaluates ``.mlpackage`` folders with every value in float32, whatever the package declares."""

    precision = "fp32"


def prediction(outputs: dict[str, Any]) -> Prediction:
    """Returns the answers for one image from the outputs of a package by name."""
    return Prediction(*(outputs[name] for name in OUTPUT_NAMES))


def runtime_on(system: str) -> type[Runtime]:
    """Returns what runs Core ML packages on a system.

    Args:
        system: The system as ``sys.platform`` names it.
    """
    return CoreMl if system == "darwin" else CoreMlEvaluator


RUNTIME = runtime_on(sys.platform)

MLPACKAGE = Format(
    name="mlpackage",
    suffix="mlpackage",
    runner=RUNTIME.name,
    packages=(READER,),
    runtime=RUNTIME,
    evaluator=CoreMlEvaluator if RUNTIME is CoreMl else None,
    read_content=read_content,
)
