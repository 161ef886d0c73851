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
from arbex.images import resize
from arbex.spec import OUTPUT_NAMES
from runtimes.base import Prediction

NAME: Final = "golden.npz"

PROGRAM, RECORDED = "program", "recorded"
"""First parts of the names of further answers: ``program/int8/corrected``, ``recorded/model.int8.onnx/corrected``."""


PICTURE, PIXELS = "picture", "pixels"
"""First parts of the names of pictures of other sizes, and of what preprocessing makes of them: ``picture/0``."""


@dataclass(frozen=True)
class Picture:
    """A picture of another size than the network's input.

    Attributes:
        original: uint8 RGB ``[H, W, 3]``.
        pixels: What preprocessing made of it at export, uint8 RGB ``[S, S, 3]``.
    """

    original: NDArray[np.uint8]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Golden vectors.

    Attributes:
        images: uint8 ``[n, S, S, 3]``.
        expected: Answers of the model in PyTorch.
        programs: Answers of the calibrated program as integer kernels compute it, by precision.
        recorded: Answers of the intact artifacts when they were exported, by file name.
        pictures: Pictures of other sizes, to check preprocessing with.
    """

    images: NDArray[np.uint8]
    expected: Prediction
    programs: Mapping[str, Prediction] = field(default_factory=dict)
    recorded: Mapping[str, Prediction] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()

    def every(self, step: int) -> Golden:
        """Returns every ``step``-th image with its answers."""

        def part(answers: Prediction) -> Prediction:
            return Prediction(*(values[::step] for values in answers))

        return Golden(
            images=self.images[::step],
            expected=part(self.expected),
            programs={name: part(answers) for name, answers in self.programs.items()},
            recorded={name: part(answers) for name, answers in self.recorded.items()},
            pictures=self.pictures,
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
    for number, picture in enumerate(golden.pictures):
        arrays |= {f"{PICTURE}/{number}": picture.original, f"{PIXELS}/{number}": picture.pixels}
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
                pictures=read_pictures(stored),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"The golden vectors {file} cannot be read: {error}.", remedy="Copy the bundle again."
        ) from error


def read_group(stored: Mapping[str, NDArray[np.float32]], group: str) -> dict[str, Prediction]:
    """Returns the answers of a group by key."""
    keys = {name.split("/")[1] for name in stored if name.startswith(f"{group}/")}
    return {key: Prediction(*(stored[f"{group}/{key}/{name}"] for name in OUTPUT_NAMES)) for key in sorted(keys)}


def read_pictures(stored: Mapping[str, NDArray[np.uint8]]) -> tuple[Picture, ...]:
    """Returns the pictures in order."""
    count = sum(name.startswith(f"{PICTURE}/") for name in stored)
    return tuple(Picture(stored[f"{PICTURE}/{number}"], stored[f"{PIXELS}/{number}"]) for number in range(count))


MEAN_DIFFERENCE: Final = 0.25
"""Largest mean difference of a picture's pixels from those at export, in steps of 8 bits. Versions of Pillow differ by
less, and without antialiasing, or with another interpolation, the difference is several times as large."""


def changed_preprocessing(golden: Golden, side: int) -> str:
    """Returns how preprocessing differs from that of the export, as a sentence; empty if it does not."""
    for number, picture in enumerate(golden.pictures):
        found, expected = resize(picture.original, side), picture.pixels
        if found.shape != expected.shape:
            return f"Preprocessing makes {list(found.shape)} of picture {number}, and made {list(expected.shape)}."
        difference = float(np.abs(found.astype(np.int16) - expected).mean())
        if difference > MEAN_DIFFERENCE:
            return (
                f"Preprocessing makes other pixels than at export: those of picture {number} of golden.npz differ by "
                f"{difference:.1f} of 255 on average. Allowed: 0 to {MEAN_DIFFERENCE}."
            )
    return ""
