"""Duration of the first epoch of a data set, which decodes it, and of later ones.

    python -m benchmarks.loading --data DATA

An epoch is read in batches of 64 without training: from the files, then from memory or from the cache on disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

from torch.utils.data import DataLoader

from arbex.data.loading import MEMORY_LIMIT, FaceDataset, whole_batch
from arbex.data.samples import FaceSet
from arbex.data.splits import read_split

RUNS = 5


def seconds(work: Callable[[], object]) -> float:
    """Returns the duration of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def epoch(images: FaceDataset) -> None:
    """Reads all images in random order."""
    for _ in DataLoader(images, 64, shuffle=True, collate_fn=whole_batch):
        pass


def first_epoch(faces: FaceSet, side: int, memory_limit: int) -> None:
    """Decodes all images and reads them once."""
    epoch(FaceDataset(faces, side, memory_limit=memory_limit))


def repeated(images: FaceDataset) -> list[float]:
    """Returns the durations of epochs of decoded images."""
    return [seconds(lambda: epoch(images)) for _ in range(RUNS)]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--side", type=int, default=128)
    given = parser.parse_args()
    faces = read_split(given.data, "train")
    print(f"{len(faces.samples)} images, resized to {given.side}\n\n| | s | of the first epoch |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARBEX_CACHE"] = folder
        for where, limit in (("memory", MEMORY_LIMIT), ("the cache", 0)):
            first = partial(first_epoch, faces, given.side, limit)
            decoded = seconds(first)
            later = statistics.median(repeated(FaceDataset(faces, given.side, memory_limit=limit)))
            print(f"| first epoch, into {where} | {decoded:.2f} | 1.00 |")
            print(f"| later epochs, from {where} | {later:.2f} | {later / decoded:.2f} |")
            if limit == 0:
                again = seconds(first)
                print(f"| first epoch of another run | {again:.2f} | {again / decoded:.2f} |")


if __name__ == "__main__":
    main()
