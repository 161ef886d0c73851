"""Classifying images, folders and videos with a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import Prediction
from runtimes.bundle import Bundle
from runtimes.preprocessing import Detector, FaceCrop, faces

BATCH = 16


def entry(face: FaceCrop, labels: tuple[str, ...], prediction: Prediction, row: int) -> dict[str, Any]:
    """Returns one face's answer as it goes into JSON."""
    corrected, primary = prediction.corrected[row], prediction.primary[row]
    return {
        "file": face.file,
        "label": labels[int(corrected.argmax())],
        "confidence": float(prediction.confidence[row]),
        "corrected": {name: float(p) for name, p in zip(labels, corrected, strict=True)},
        "primary": {name: float(p) for name, p in zip(labels, primary, strict=True)},
        "box": list(face.box) if face.box else None,
    }


def classify(
    bundle: Bundle,
    paths: Sequence[Path],
    *,
    artifact: str | None = None,
    detector: Detector | None = None,
    threads: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields an answer for every face, in order.

    Args:
        bundle: What to run.
        paths: Image files, folders or video files.
        artifact: File name or precision; by default the most exact one that runs here.
        detector: Finds faces; without one every picture is a cropped face.
        threads: How many the runtime uses.

    Yields:
        ``{"file", "label", "confidence", "corrected", "primary", "box"}``.

    Raises:
        DataError: If an image cannot be read.
        BackendError: If the runtime is missing.
    """
    with bundle.open(artifact, threads=threads) as runtime:
        for path in paths:
            stream = faces(path, bundle.side, detector)
            while batch := list(islice(stream, BATCH)):
                prediction = runtime.run(np.stack([face.pixels for face in batch]))
                for row, face in enumerate(batch):
                    yield entry(face, bundle.labels, prediction, row)
