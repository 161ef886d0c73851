"""Choosing the images that calibrate: balanced over classes, then over people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbex import images
from arbex.data.folder import FaceSet, Sample, read_split
from arbex.errors import DataError
from arbex.progress import SILENT, Reporter
from arbex.spec import digest_json

DEFAULT_SAMPLES = 256


@dataclass(frozen=True)
class CalibrationSet:
    """Decoded calibration images.

    Attributes:
        images: uint8 RGB ``[n, S, S, 3]``.
        digest: Identifies the pixels and their order.
        source: Where they came from.
    """

    images: NDArray[np.uint8]
    digest: str
    source: str


def choose(faces: FaceSet, count: int, seed: int = 0) -> list[Sample]:
    """Returns ``count`` samples (or all), as equally many a class as there are, and a person in turn.

    Args:
        faces: Where to choose from.
        count: How many.
        seed: Of the choice within a person.
    """
    rng = np.random.default_rng(seed)
    queues: list[list[Sample]] = []
    for label in range(len(faces.labels)):
        by_group: dict[str, list[Sample]] = {}
        for sample in faces.samples:
            if sample.label == label:
                by_group.setdefault(sample.group, []).append(sample)
        for members in by_group.values():
            rng.shuffle(members)
        queue: list[Sample] = []
        while any(by_group.values()):  # one of each person, then the next of each
            queue += [members.pop() for members in by_group.values() if members]
        queues.append(queue[::-1])
    chosen: list[Sample] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return chosen


def without_flat(
    chosen: list[Sample], pixels: NDArray[np.uint8], labels: tuple[str, ...], report: Reporter
) -> NDArray[np.uint8]:
    """Leaves out images ``[n, S, S, 3]`` of a single colour: they show no face, and say nothing of ranges.

    Raises:
        DataError: If a class has no other images.
    """
    flat = pixels.min((1, 2, 3)) == pixels.max((1, 2, 3))
    for sample in (s for s, is_flat in zip(chosen, flat, strict=True) if is_flat):
        report.line(f"warning: {sample.file} is of one colour throughout and does not calibrate")
    left = {s.label for s, is_flat in zip(chosen, flat, strict=True) if not is_flat}
    missing = [name for i, name in enumerate(labels) if i not in left]
    if missing:
        raise DataError(
            f"All calibration images of {', '.join(missing)} are of one colour throughout.",
            remedy="Check how they were made, or calibrate on other images.",
        )
    kept: NDArray[np.uint8] = pixels[~flat]
    return kept


def load_samples(
    data: str, labels: tuple[str, ...], side: int, *, count: int = DEFAULT_SAMPLES, report: Reporter = SILENT
) -> CalibrationSet:
    """Chooses and decodes calibration images.

    Args:
        data: A data set with the model's classes; its validation split is used, never the test split.
        labels: The model's classes.
        side: Side of the network's input.
        count: How many images.
        report: Takes progress.

    Raises:
        DataError: If the data cannot be used, ``count`` is smaller than the number of
            classes, or a class has no image but such of a single colour.
    """
    if count < len(labels):
        raise DataError(
            f"{count} calibration images cannot cover {len(labels)} classes.",
            allowed=f"At least {len(labels)}.",
        )
    faces = read_split(data, "val", labels=labels)
    chosen = choose(faces, count)
    out = np.empty((len(chosen), side, side, 3), dtype=np.uint8)
    with report.bar("reading calibration images", len(chosen)) as step:
        for i, sample in enumerate(chosen):
            out[i] = images.load(sample.file, side)
            step(i + 1)
    out = without_flat(chosen, out, labels, report)
    return CalibrationSet(out, digest_pixels(out), f"{faces.root.name}/{faces.split}")


def digest_pixels(pixels: NDArray[np.uint8]) -> str:
    """Identifies a stack of images by shape and content."""
    import hashlib

    return digest_json([list(pixels.shape), hashlib.sha256(pixels.tobytes()).hexdigest()])
