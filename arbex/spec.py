"""Names and values that every stage shares. Standard library only.

Values that pass between stages are frozen and round-trip through JSON; a digest identifies what changes an output.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The seven basic classes in the order of Aff-Wild2; an eighth, ``contempt`` or ``other``, may follow."""

INPUT_NAME = "image"
OUTPUT_NAMES = ("corrected", "primary", "confidence")
"""Names and order of the tensors of every exported graph."""

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
"""Folder names of each split of a data set, in lower case; in a data set, they may have any."""

PRECISIONS = ("fp32", "fp16", "int8")
"""Names of the precisions of exported artifacts."""

ECE_BINS = 15
"""Number of equal-width bins of the expected calibration error."""

PROBABILITY_FLOOR = 1e-12
"""Smaller probabilities are raised to this value before their logarithm is taken."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and without spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_json(value: Any) -> str:
    """Returns the SHA-256 of the canonical JSON of ``value``, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_files(paths: Iterable[Path]) -> list[str]:
    """Returns the SHA-256 of each file, computed on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashlib releases the interpreter's lock
        return list(pool.map(digest_file, paths))


def size_of_tree(path: Path) -> int:
    """Returns the size in bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded face becomes the network's input.

    Images are decoded to RGB, resized to ``image_size`` squared with antialiased bilinear interpolation, and kept as
    uint8. The normalization ``(x / 255 - mean) / std`` is part of the training code in PyTorch and part of the graph in
    every exported artifact.

    Attributes:
        image_size: Side of the square input, in pixels.
        mean: Mean of each channel in RGB order, for values in [0, 1].
        std: Standard deviation of each channel in RGB order, for values in [0, 1].
        resize: Name of the interpolation; only ``bilinear`` is supported.
    """

    image_size: int
    _: KW_ONLY
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: str = "bilinear"

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Builds the value from what ``to_json`` returned."""
        return cls(
            image_size=int(value["image_size"]),
            mean=tuple(value["mean"]),
            std=tuple(value["std"]),
            resize=value["resize"],
        )

    @property
    def digest(self) -> str:
        """Identifies the preprocessing, as 64 hexadecimal digits."""
        return digest_json(self.to_json())
