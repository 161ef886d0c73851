"""Decoded images as tensors, ready for batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import torch
from torch import Tensor
from torch.utils.data import Dataset

from arbex import images
from arbex.data.folder import FaceSet
from arbex.errors import DataError

CACHE_LIMIT = 2 << 30
"""Bytes of decoded images that are kept in memory; a larger set is decoded anew for every epoch."""


class FaceDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images uint8 ``[3, side, side]`` and targets float32 ``[N]`` of one split.

    Args:
        faces: The split.
        side: Side to which images are resized.
        soft: Use the annotators' votes as targets where there are any.
        progress: Called with the number of decoded images while the cache fills.

    Raises:
        DataError: If an image cannot be read (at once where the set fits into memory, else when it is reached).
    """

    def __init__(
        self, faces: FaceSet, side: int, *, soft: bool = False, progress: Callable[[int], None] | None = None
    ) -> None:
        """Decodes all images if they fit into memory."""
        self.faces, self.side = faces, side
        self.targets = torch.from_numpy(faces.targets(soft=soft))
        self.labels = torch.tensor([s.label for s in faces.samples])
        self.pixels: Tensor | None = None
        if len(faces.samples) * side * side * 3 <= CACHE_LIMIT:
            self.pixels = self.decode_all(progress)

    @property
    def cached(self) -> bool:
        """Whether all images lie decoded in memory."""
        return self.pixels is not None

    def decode_all(self, progress: Callable[[int], None] | None) -> Tensor:
        """Returns all images as uint8 ``[n, 3, side, side]``."""
        out = torch.empty((len(self.faces.samples), 3, self.side, self.side), dtype=torch.uint8)
        with ThreadPoolExecutor(cpu_count() or 1) as pool:
            files = (s.file for s in self.faces.samples)
            for i, pixels in enumerate(pool.map(lambda f: images.load(f, self.side), files)):
                out[i] = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
                if progress:
                    progress(i + 1)
        return out

    def __len__(self) -> int:
        """Number of images."""
        return len(self.faces.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Returns one image uint8 ``[3, side, side]`` and its target float32 ``[N]``."""
        if self.pixels is not None:
            return self.pixels[index], self.targets[index]
        pixels = images.load(self.faces.samples[index].file, self.side)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1), self.targets[index]


def batches(loader: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the batches of a loader.

    Raises:
        DataError: If an image cannot be read. A worker process sends its error with a traceback as its message; here
            the message is the error's own again.
    """
    try:
        yield from loader
    except DataError as error:
        _, _, message = str(error).rpartition(f"{DataError.__name__}: ")
        raise DataError(message.strip()) from error
