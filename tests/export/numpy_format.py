"""A format of its own, as CONTRIBUTING tells how to add one: linear models on pixel means, run by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbex.packages import Package
from export.formats.base import Writer
from export.operators import Operator, weight_key
from export.programs import Variant
from export.targets import Target
from quantize.recipe import CPU
from runtimes.base import Prediction, Runtime
from runtimes.formats import Format

NUMPY = Package(module="numpy", distribution="numpy", purpose="running and writing .npz files")


class NumpyRuntime(Runtime):
    """Runs ``.npz`` files."""

    name = "numpy"

    def load(self) -> None:
        self.stored = dict(np.load(self.path, allow_pickle=False))

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        pixels = (images / np.float32(255) - self.stored["mean"]) / self.stored["std"]  # [B, S, S, 3]
        blocks = pixels.reshape(len(images), self.side // 8, 8, self.side // 8, 8, 3).mean((2, 4))
        vector = blocks.transpose(0, 3, 1, 2).reshape(len(images), -1)  # [B, F]
        logits = vector @ self.stored["weight"].T + self.stored["bias"]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        confidence = 1 + (p * np.log(p)).sum(1) / np.log(p.shape[1])
        return Prediction(*(a.astype(np.float32) for a in (p, p, confidence)))

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        return (ValueError, KeyError, OSError)


FORMAT = Format(name="numpy", suffix="npz", runner="numpy", packages=(NUMPY,), runtime=NumpyRuntime)


class NumpyWriter(Writer):
    """Writes ``.npz`` files."""

    format = FORMAT
    packages = (NUMPY,)
    targets = (
        Target(
            name="notebook",
            formats=("numpy",),
            precisions=("fp32",),
            device="any notebook with NumPy",
            recipe=CPU,
            in_all=False,
            usage="Multiply `{artifact}` by the means of 8 x 8 blocks of {side} x {side} pixels.",
        ),
    )

    def write(self, variant: Variant, path: Path) -> None:
        tensors = {name: value.detach().numpy() for name, value in variant.program().named_parameters()}
        how = variant.programs.traced.preprocessing
        np.savez(
            path,
            weight=tensors["head.classify.weight"],
            bias=tensors["head.classify.bias"],
            mean=np.array(how.mean, np.float32),
            std=np.array(how.std, np.float32),
        )

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        return [Operator(weight_key(np.load(path)["weight"].shape), int8=False)]
