"""Golden vectors: images with the answers that a bundle must give to them, in ``golden.npz``."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arbex.errors import BundleError
from arbex.spec import OUTPUT_NAMES
from runtimes.base import Prediction

NAME: Final = "golden.npz"

PROGRAM, RECORDED = "program", "recorded"
"""First parts of the names of further answers: ``program/int8/corrected``, ``recorded/model.int8.onnx/corrected``."""


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Golden vectors.

    Attributes:
        images: uint8 ``[n, S, S, 3]``.
        expected: Answers of the model in PyTorch.
        programs: Answers of the calibrated program as integer kernels compute it, by precision.
        recorded: Answers of the intact artifacts when they were exported, by file name.
    """

    images: NDArray[np.uint8]
    expected: Prediction
    programs: Mapping[str, Prediction] = field(default_factory=dict)
    recorded: Mapping[str, Prediction] = field(default_factory=dict)

    def every(self, step: int) -> Golden:
        """Returns every ``step``-th image with its answers."""

        def part(answers: Prediction) -> Prediction:
            return Prediction(*(values[::step] for values in answers))

        return Golden(
            images=self.images[::step],
            expected=part(self.expected),
            programs={name: part(answers) for name, answers in self.programs.items()},
            recorded={name: part(answers) for name, answers in self.recorded.items()},
        )


def digest_golden(golden: Golden, artifact: str, precision: str) -> str:
    """Identifies all golden vectors that concern an artifact.

    Args:
        golden: The golden vectors.
        artifact: File name of the artifact.
        precision: Its precision.
    """
    digest = hashlib.sha256(golden.images.tobytes())
    for answers in (golden.expected, golden.programs.get(precision), golden.recorded.get(artifact)):
        for values in answers or ():
            digest.update(str(values.shape).encode())
            digest.update(values.tobytes())
    return digest.hexdigest()


def named(answers: Prediction, *path: str) -> dict[str, NDArray[np.float32]]:
    """Returns answers by the names that they have in the file."""
    return {"/".join((*path, name)): value for name, value in zip(OUTPUT_NAMES, answers, strict=True)}


def pack_golden(golden: Golden) -> bytes:
    """Returns the bytes of ``golden.npz``."""
    arrays: dict[str, NDArray[np.generic]] = {"image": golden.images, **named(golden.expected)}
    for group, answers in ((PROGRAM, golden.programs), (RECORDED, golden.recorded)):
        for key, prediction in answers.items():
            arrays |= named(prediction, group, key)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def read_golden(file: Path) -> Golden:
    """Reads ``golden.npz``.

    Raises:
        BundleError: If it is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return Golden(
                images=stored["image"],
                expected=Prediction(*(stored[name] for name in OUTPUT_NAMES)),
                programs=read_group(stored, PROGRAM),
                recorded=read_group(stored, RECORDED),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"The golden vectors {file} cannot be read: {error}.", remedy="Copy the bundle again."
        ) from error


def read_group(stored: Mapping[str, NDArray[np.float32]], group: str) -> dict[str, Prediction]:
    """Returns the answers of a group by key."""
    keys = {name.split("/")[1] for name in stored if name.startswith(f"{group}/")}
    return {key: Prediction(*(stored[f"{group}/{key}/{name}"] for name in OUTPUT_NAMES)) for key in sorted(keys)}
