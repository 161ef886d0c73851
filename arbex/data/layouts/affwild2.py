"""The layout ``affwild2``: frames of videos from Aff-Wild2's expression challenge (Kollias, Zafeiriou 2019).

cropped_aligned/<video>/00001.jpg
annotations/EXPR_Set/Train_Set/<video>.txt      a header, then one line per frame: 0 to 7, or -1 for unlabeled
annotations/EXPR_Set/Validation_Set/<video>.txt
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from arbex.data.layouts.base import Layout
from arbex.data.samples import Sample
from arbex.errors import DataError
from arbex.images import list_folder
from arbex.spec import EXPRESSIONS

ORDER = (*EXPRESSIONS, "other")
FOLDERS = {"train": ("Train_Set", "Training_Set"), "test": ("Validation_Set",)}
FRAMES = ("cropped_aligned", "cropped_aligned_images", "cropped")
UNLABELED = -1


class AffWild2(Layout):
    """Labeled frames; the groups are the videos.

    The official validation videos serve as ``test``, since the labels of the test set are not published. A tenth of the
    training videos is held out for validation.
    """

    name = "affwild2"

    def splits(self) -> Sequence[str]:
        """Returns the splits that exist."""
        found = [split for split in FOLDERS if self.annotations(split)]
        if not found:
            raise self.missing("Train_Set", "a folder Train_Set with one text file per video, at most two folders deep")
        return found

    def annotations(self, split: str) -> Path | None:
        """Returns the folder with the annotations of a split, whose depth differs between challenges, or None."""
        for name in FOLDERS[split]:
            below = [self.root / name, *sorted(self.root.glob(f"*/{name}")), *sorted(self.root.glob(f"*/*/{name}"))]
            # The tracks for valence and action units have folders of the same name.
            for folder in sorted(below, key=lambda p: "EXPR" not in str(p.relative_to(self.root))):
                if folder.is_dir():
                    return folder
        return None

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the seven expressions and ``other``."""
        return ORDER

    def samples(self, split: str, labels: tuple[str, ...]) -> list[Sample]:
        """Returns the labeled frames that have an image; frames without a detected face have none."""
        folder = self.annotations(split)
        base = next((self.root / name for name in FRAMES if (self.root / name).is_dir()), None)
        if folder is None or base is None:
            raise self.missing("cropped_aligned", "cropped_aligned/<video>/00001.jpg")
        found, videos = [], {entry.name for entry in list_folder(base)}
        for file in with_suffix(folder, ".txt"):
            frames = {p.stem: p for p in with_suffix(base / file.stem, ".jpg")} if file.stem in videos else {}
            for number, code in enumerate(read_codes(file), start=1):
                frame = frames.get(f"{number:05d}")
                if code != UNLABELED and frame is not None:
                    found.append(Sample(frame, labels.index(ORDER[code]), group=file.stem))
        return found


def with_suffix(folder: Path, suffix: str) -> list[Path]:
    """Returns the files of a folder that end so, sorted by name; hidden files are left out.

    Raises:
        DataError: If the folder cannot be read.
    """
    return [Path(entry.path) for entry in list_folder(folder) if entry.name.endswith(suffix) and entry.name[0] != "."]


def read_codes(file: Path) -> Iterator[int]:
    """Yields the code of each frame of a video.

    Raises:
        DataError: If a line is not a code.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            code = int(line)
        except ValueError:
            code = len(ORDER)
        if not UNLABELED <= code < len(ORDER):
            raise DataError(
                f"Line {number} of {file} cannot be read: {line!r}.",
                allowed=f"Allowed: a number from {UNLABELED} to {len(ORDER) - 1} after one line of header.",
                remedy="Correct the line, or download the data set again.",
            )
        yield code
