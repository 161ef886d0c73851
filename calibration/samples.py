"""Choosing calibration images: balanced over classes, then over people."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbex.data.samples import FaceSet, Sample, SampleReader
from arbex.data.splits import read_split
from arbex.errors import DataError, InputError
from arbex.progress import SILENT, Reporter
from arbex.spec import digest_json

DEFAULT_SAMPLES = 256


@dataclass(frozen=True)
class CalibrationSet:
    """Calibration images on disk, decoded a batch at a time, so that memory does not grow with their number.

    Attributes:
        samples: The images, in the order in which they are used.
        side: Side of the network's input in pixels.
        digest: Identifies the decoded pixels and their order.
        source: Data set and split they came from.
    """

    samples: tuple[Sample, ...]
    side: int
    digest: str
    source: str

    def batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yields uint8 RGB ``[B, S, S, 3]`` with B at most ``size``."""
        reader = SampleReader(self.samples, self.side)
        for i in range(0, len(self.samples), size):
            yield np.stack([reader.read(sample) for sample in self.samples[i : i + size]])

    def first(self, count: int) -> NDArray[np.uint8]:
        """Returns the first images, uint8 RGB ``[n, S, S, 3]``, which are as balanced over classes as all of them."""
        reader = SampleReader(self.samples[:count], self.side)
        return np.stack([reader.read(sample) for sample in self.samples[:count]])


def choose(faces: FaceSet, count: int, seed: int = 0) -> list[Sample]:
    """Returns ``count`` samples, or all if there are fewer: as equally many per class as possible, people in turn.

    Args:
        faces: Images to choose from.
        count: Number of samples.
        seed: Seed of the choice among the images of a person.
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


def shard_of(chosen: list[Sample], shard: tuple[int, int]) -> list[Sample]:
    """Returns the i-th of n parts for shard ``(i, n)``, counted from 1, which are as balanced as the whole."""
    number, of = shard
    return chosen[len(chosen) * (number - 1) // of : len(chosen) * number // of]


def load_samples(
    data: str,
    labels: tuple[str, ...],
    side: int,
    *,
    count: int = DEFAULT_SAMPLES,
    shard: tuple[int, int] = (1, 1),
    report: Reporter = SILENT,
) -> CalibrationSet:
    """Chooses calibration images and decodes each of them once.

    Args:
        data: Data set with the model's classes; its validation split is used, never the test split.
        labels: The model's classes.
        side: Side of the network's input in pixels.
        count: Number of images over all shards.
        shard: Part ``(i, n)`` of them to use, counted from 1, so that several machines can calibrate one part each.
        report: Receives progress, and a line for each image of a single color: it shows no face and is left out.

    Raises:
        InputError: If there is no such shard.
        DataError: If the data cannot be used, ``count`` is too small to cover the classes in every shard, or all
            images of a class are of a single color.
    """
    number, of = shard
    if not 1 <= number <= of:
        raise InputError(f"There is no shard {number} of {of}.", allowed="Allowed: 1/N to N/N.")
    if count < len(labels) * of:
        raise DataError(
            f"{count} calibration images cannot cover {len(labels)} classes{f' in {of} shards' if of > 1 else ''}.",
            allowed=f"Allowed: {len(labels) * of} or more.",
            remedy="Raise --samples.",
        )
    faces = read_split(data, "val", labels=labels)
    chosen = shard_of(choose(faces, count), shard)
    kept, digest = decode_samples(chosen, side, report)
    covered = {sample.label for sample in kept}
    missing = [name for i, name in enumerate(labels) if i not in covered]
    if not kept or (missing and of == 1):
        raise DataError(
            f"All calibration images of {', '.join(missing)} are of one color throughout.",
            remedy="Check these files, or calibrate on other images.",
        )
    return CalibrationSet(tuple(kept), side, digest, f"{faces.root.name}/{faces.split}")


def decode_samples(chosen: list[Sample], side: int, report: Reporter) -> tuple[list[Sample], str]:
    """Decodes each sample; returns those that are not of a single color, and the digest of their pixels."""
    kept: list[Sample] = []
    digest = hashlib.sha256()
    reader = SampleReader(chosen, side)
    with report.bar("reading calibration images", len(chosen)) as step:
        for i, sample in enumerate(chosen):
            pixels = reader.read(sample)
            if pixels.min() == pixels.max():
                report.line(f"warning: {sample} is of one color throughout and is left out")
            else:
                kept.append(sample)
                digest.update(pixels.tobytes())
            step(i + 1)
    return kept, digest_json([side, len(kept), digest.hexdigest()])
