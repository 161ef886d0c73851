"""Classifying images, folders and videos with a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from arbex.images import Box
from runtimes.base import BATCH, Prediction
from runtimes.bundle import Bundle
from runtimes.preprocessing import Detector, FaceCrop, faces


@dataclass(frozen=True, kw_only=True)
class FaceAnswer:
    """The answer for one face.

    Attributes:
        file: Where the face came from; a video's frame is ``name#number``.
        label: The most probable class.
        confidence: Confidence of the answer, in [0, 1].
        corrected: Probability of each class after reliability balancing.
        primary: Probability of each class before it.
        box: x, y, width and height in the image, in pixels; None for the whole image.
        unsure: Whether the confidence is below the threshold that was chosen in training; without one, never.
    """

    file: str
    label: str
    confidence: float
    corrected: Mapping[str, float]
    primary: Mapping[str, float]
    box: Box | None
    unsure: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns the answer as the command prints it."""
        return asdict(self)


def answer_of(face: FaceCrop, bundle: Bundle, prediction: Prediction, row: int) -> FaceAnswer:
    """Returns the answer for one face of a batch."""
    corrected, primary, labels = prediction.corrected[row], prediction.primary[row], bundle.labels
    confidence, threshold = float(prediction.confidence[row]), bundle.manifest.confidence_threshold
    return FaceAnswer(
        file=face.file,
        label=labels[int(corrected.argmax())],
        confidence=confidence,
        corrected={name: float(p) for name, p in zip(labels, corrected, strict=True)},
        primary={name: float(p) for name, p in zip(labels, primary, strict=True)},
        box=face.box,
        unsure=threshold is not None and confidence < threshold,
    )


def classify(
    bundle: Bundle,
    paths: Sequence[Path],
    *,
    artifact: str | None = None,
    detector: Detector | None = None,
    threads: int | None = None,
) -> Iterator[FaceAnswer]:
    """Yields an answer for every face, in order.

    Args:
        bundle: Bundle to run.
        paths: Image files, folders or video files.
        artifact: File name or precision; by default the most accurate one that runs on this machine.
        detector: Detects faces; without it, every image is taken as one cropped face.
        threads: Number of threads of the runtime.

    Raises:
        DataError: If an image cannot be read.
        BackendError: If the runtime is missing or fails.
    """
    with bundle.open(artifact, threads=threads) as runtime:
        for path in paths:
            stream = faces(path, bundle.side, detector)
            while batch := list(islice(stream, BATCH)):
                prediction = runtime.run(np.stack([face.pixels for face in batch]))
                for row, face in enumerate(batch):
                    yield answer_of(face, bundle, prediction, row)
