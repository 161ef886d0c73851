"""Decoded images as tensors, ready for batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import cpu_count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from arbex.data.cache import Unreadable, open_pixels
from arbex.data.samples import FaceSet, Sample, SampleReader, check_every_class
from arbex.data.splits import read_split
from arbex.errors import DataError
from arbex.files import write_atomically
from arbex.progress import Reporter
from arbex.settings import MOST_UNREADABLE
from arbex.spec import digest_json

MEMORY_LIMIT = 2 << 30
"""Bytes of decoded images that are kept in memory; a larger set is decoded into a file, once for all runs."""


class FaceDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """Images uint8 ``[3, side, side]``, targets float32 ``[N]`` and positions of one split.

    Images that cannot be read are left out, of the set too.

    Args:
        faces: The split.
        side: Side to which images are resized.
        soft: Use the annotators' votes as targets where there are any.
        most_unreadable: Share of images that may be left out.
        memory_limit: Bytes up to which decoded images stay in memory; a larger set goes into a file.
        progress: Called with the number of decoded images.

    Attributes:
        faces: The images that could be read.
        unreadable: The others, with the reason.

    Raises:
        DataError: If more cannot be read, or a class has no image that can.
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
            pixels, unreadable = open_pixels(digest_json([faces.digest, side]), shape, decode)
        self.unreadable = tuple((faces.samples[i], reason) for i, reason in sorted(unreadable.items()))
        self.faces = self.without(faces, unreadable, most_unreadable) if unreadable else faces
        self.rows = torch.tensor([i for i in range(len(faces.samples)) if i not in unreadable])
        self.pixels = torch.from_numpy(pixels)
        self.targets = torch.from_numpy(self.faces.targets(soft=soft))
        self.labels = torch.tensor([s.label for s in self.faces.samples])

    def without(self, faces: FaceSet, unreadable: Unreadable, most: float) -> FaceSet:
        """Returns the images that could be read.

        Raises:
            DataError: If too many could not.
        """
        share = len(unreadable) / len(faces.samples)
        if share > most:
            first = next(iter(unreadable.values()))
            raise DataError(
                f"{len(unreadable)} of the {len(faces.samples)} images of {faces.root} ({faces.split}) cannot be read; "
                f"the first: {first}",
                allowed=f"At most {most:.2%} may be left out.",
                remedy="Get them again, or allow more: --set max_unreadable=SHARE (arbex evaluate: --max-unreadable).",
            )
        kept = tuple(s for i, s in enumerate(faces.samples) if i not in unreadable)
        check_every_class(kept, faces.labels, f"what can be read of {faces.root} ({faces.split})")
        return replace(faces, samples=kept)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yields all images in order, uint8 ``[B, 3, side, side]`` with B at most ``size``."""
        for start in range(0, len(self), size):
            yield self.pixels[self.rows[start : start + size]]

    def arrays(self) -> NDArray[np.uint8]:
        """Returns all images in order as a device is given them: uint8 RGB ``[n, side, side, 3]``."""
        return self.pixels[self.rows].permute(0, 2, 3, 1).numpy()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Returns one image uint8 ``[3, side, side]``, its target float32 ``[N]`` and its position."""
        return self.pixels[self.rows[index]], self.targets[index], index


def decode_all(
    samples: tuple[Sample, ...], side: int, out: NDArray[np.uint8], progress: Callable[[int], None] | None
) -> Unreadable:
    """Decodes images into uint8 ``[n, 3, side, side]`` and returns why some cannot be read."""
    reader = SampleReader(samples, side)

    def read(sample: Sample) -> NDArray[np.uint8] | str:
        try:
            return reader.read(sample)
        except DataError as error:
            return error.problem

    unreadable = {}
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        for i, pixels in enumerate(pool.map(read, samples)):
            if isinstance(pixels, str):
                unreadable[i] = pixels
            else:
                out[i] = pixels.transpose(2, 0, 1)
            if progress:
                progress(i + 1)
    return unreadable


def read_pixels(
    data: str, split: str, labels: tuple[str, ...], side: int, *, limit: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads a split as a device would be given it.

    Args:
        data: ``PATH`` or ``LAYOUT:PATH``.
        split: Which split.
        labels: The model's class order.
        side: Of its input, in pixels.
        limit: At most so many images, evenly chosen.

    Returns:
        uint8 RGB ``[n, side, side, 3]`` and classes ``[n]``.

    Raises:
        DataError: If the data cannot be read or has other classes.
    """
    faces = read_split(data, split, labels=labels)
    count = min(limit or len(faces.samples), len(faces.samples))
    chosen = np.linspace(0, len(faces.samples) - 1, count).round().astype(int)
    images = FaceDataset(replace(faces, samples=tuple(faces.samples[i] for i in chosen)), side)
    return images.arrays(), images.labels.numpy()


def log_unreadable(images: FaceDataset, run: Path, report: Reporter) -> None:
    """Lists the images that were left out in ``RUN/unreadable-SPLIT.log`` and reports their number.

    Where every image could be read, an older list is removed.
    """
    log = run / f"unreadable-{images.faces.split}.log"
    if not images.unreadable:
        log.unlink(missing_ok=True)
        return
    write_atomically(log, "".join(f"{sample}\t{reason}\n" for sample, reason in images.unreadable))
    report.line(f"warning: {len(images.unreadable)} images cannot be read and are left out; {log} names them")
