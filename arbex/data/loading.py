"""Decoded images as tensors, ready for batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from arbex.data.cache import Unreadable, open_pixels
from arbex.data.samples import FaceSet, Sample, SampleReader
from arbex.data.splits import read_split
from arbex.errors import DataError
from arbex.files import write_atomically
from arbex.progress import Reporter
from arbex.settings import MOST_UNREADABLE
from arbex.spec import digest_json

MEMORY_LIMIT = 2 << 30
"""Bytes of decoded images that are kept in memory; a larger set is decoded into a file."""


Batch = tuple[Tensor, Tensor, Tensor]
"""Images uint8 ``[B, 3, side, side]``, targets float32 ``[B, N]`` and positions ``[B]``."""


def whole_batch(batch: Any) -> Any:
    """Returns a :data:`Batch` as it is: the data set has already put it together."""
    return batch


class FaceDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """The images of one split, uint8 ``[3, side, side]``, with targets float32 ``[N]`` and positions.

    Images that cannot be read are left out.

    Args:
        faces: The split.
        side: Side in pixels to which images are resized.
        soft: Whether to use the annotators' votes as targets where there are any.
        most_unreadable: Share of images that may be left out because they cannot be read.
        memory_limit: Bytes of decoded images that are kept in memory; a larger set is decoded into a file.
        progress: Function that takes the number of decoded images.

    Attributes:
        faces: The split, reduced to the images that can be read.
        unreadable: The other images, each with the reason.

    Raises:
        DataError: If too many images cannot be read, or a class has none that can.
    """

    def __init__(
        self,
        faces: FaceSet,
        side: int,
        *,
        soft: bool = False,
        most_unreadable: float = MOST_UNREADABLE,
        memory_limit: int = MEMORY_LIMIT,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Decodes all images, into memory or a file."""
        self.side = side
        shape = (len(faces.samples), 3, side, side)

        def decode(out: NDArray[np.uint8]) -> Unreadable:
            return decode_all(faces.samples, side, out, progress)

        if np.prod(shape, dtype=np.int64) <= memory_limit:
            pixels = np.empty(shape, dtype=np.uint8)
            unreadable = decode(pixels)
        else:
            pixels, unreadable = open_pixels(cache_key(faces, side), shape, decode)
        self.unreadable = tuple((faces.samples[i], reason) for i, reason in sorted(unreadable.items()))
        self.faces = self.without(faces, unreadable, most_unreadable) if unreadable else faces
        self.rows = torch.tensor([i for i in range(len(faces.samples)) if i not in unreadable])
        self.pixels = torch.from_numpy(pixels)
        self.targets = torch.from_numpy(self.faces.targets(soft=soft))
        self.labels = torch.tensor([s.label for s in self.faces.samples])

    def without(self, faces: FaceSet, unreadable: Unreadable, most: float) -> FaceSet:
        """Returns the split without the images that cannot be read.

        Raises:
            DataError: If these are too many, or all images of a class.
        """
        share = len(unreadable) / len(faces.samples)
        if share > most:
            first = next(iter(unreadable.values()))
            raise DataError(
                f"{len(unreadable)} of the {len(faces.samples)} images of {faces.root} ({faces.split}) cannot be read; "
                f"the first: {first}",
                allowed=f"Allowed: 0 to {most:.2%}.",
                remedy="Download or copy them again, or allow more with --set max_unreadable=SHARE (arbex evaluate: "
                "--max-unreadable).",
            )
        kept = tuple(s for i, s in enumerate(faces.samples) if i not in unreadable)
        lost = {s.label for s in faces.samples} - {s.label for s in kept}
        if lost:
            raise DataError(
                f"No image of the class {faces.labels[min(lost)]!r} of {faces.root} ({faces.split}) can be read.",
                remedy="Download or copy the images again.",
            )
        return replace(faces, samples=kept)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yields all images in order, uint8 ``[B, 3, side, side]`` with B at most ``size``."""
        for start in range(0, len(self), size):
            yield self.pixels[self.rows[start : start + size]]

    def arrays(self) -> NDArray[np.uint8]:
        """Returns all images in order in the layout of a device, uint8 RGB ``[n, side, side, 3]``."""
        return DevicePixels(self)[:]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Returns one image uint8 ``[3, side, side]``, its target float32 ``[N]`` and its position."""
        return self.pixels[self.rows[index]], self.targets[index], index

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns several images at once, which a ``DataLoader`` prefers; ``whole_batch`` must collate them."""
        positions = torch.tensor(indices)
        return self.pixels[self.rows[positions]], self.targets[positions], positions


def cache_key(faces: FaceSet, side: int) -> str:
    """Returns a name for the decoded images of a split at one size.

    Files of the same names and sizes may hold other pixels in another folder, or after they were written again.
    """
    files = dict.fromkeys(sample.file for sample in faces.samples)
    written = [file.stat().st_mtime_ns if file.exists() else None for file in files]
    return digest_json([faces.digest, str(faces.root.resolve()), written, side])


@dataclass(frozen=True)
class DevicePixels:
    """The images of a data set in the layout of a device, copied piece by piece."""

    images: FaceDataset

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        """Returns images, uint8 RGB ``[n, side, side, 3]``."""
        pixels: NDArray[np.uint8] = self.images.pixels[self.images.rows[part]].permute(0, 2, 3, 1).numpy()
        return pixels


def decode_all(
    samples: tuple[Sample, ...], side: int, out: NDArray[np.uint8], progress: Callable[[int], None] | None
) -> Unreadable:
    """Decodes images into ``out``, uint8 ``[n, 3, side, side]``, and returns which cannot be read, with reasons."""
    reader = SampleReader(samples, side)

    def read(i: int) -> str | None:
        try:
            out[i] = reader.read(samples[i]).transpose(2, 0, 1)
        except DataError as error:
            return error.problem
        return None

    unreadable = {}
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for i, problem in enumerate(pool.map(read, range(len(samples)))):
            if problem:
                unreadable[i] = problem
            if progress:
                progress(i + 1)
    return unreadable


def read_pixels(
    data: str, split: str, labels: tuple[str, ...], side: int, *, limit: int | None = None
) -> tuple[DevicePixels, NDArray[np.int64]]:
    """Reads a split in the layout of a device.

    Args:
        data: ``PATH`` or ``LAYOUT:PATH``.
        split: Name of the split.
        labels: Class names in the order of the model.
        side: Side of the images in pixels.
        limit: Largest number of images; they are chosen evenly from the split.

    Returns:
        The images, uint8 RGB ``[n, side, side, 3]`` when sliced, and the class of each ``[n]``.

    Raises:
        DataError: If the data cannot be read, or has other classes.
    """
    faces = read_split(data, split, labels=labels)
    count = min(limit or len(faces.samples), len(faces.samples))
    chosen = np.linspace(0, len(faces.samples) - 1, count).round().astype(int)
    images = FaceDataset(replace(faces, samples=tuple(faces.samples[i] for i in chosen)), side)
    return DevicePixels(images), images.labels.numpy()


def log_unreadable(images: FaceDataset, log: Path, report: Reporter) -> None:
    """Lists the images that were left out in a file and reports their number.

    Where every image could be read, an older list is removed.
    """
    if not images.unreadable:
        log.unlink(missing_ok=True)
        return
    write_atomically(log, "".join(f"{sample}\t{reason}\n" for sample, reason in images.unreadable))
    report.line(f"warning: {len(images.unreadable)} images cannot be read and are left out; {log} lists them")
