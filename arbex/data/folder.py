"""The layout ``folder``: ``<split>/<class>/<image>``, with an optional table of votes and subjects."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arbex.errors import DataError
from arbex.images import find_images
from arbex.spec import EXPRESSIONS, SPLITS, digest_json

HELD_OUT = 10
"""Without a validation split, every 10th person is held out for it; without names, every 10th image of a class."""


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        file: Path of the image.
        label: Position of its class.
        group: Person or video that it belongs to; empty when unknown.
        votes: Votes of the annotators for each class, or nothing.
    """

    file: Path
    label: int
    group: str = ""
    votes: tuple[int, ...] = ()


@dataclass(frozen=True)
class FaceSet:
    """The images of one split, in a fixed order.

    Attributes:
        root: Folder of the data set.
        split: Name of the split.
        labels: Class names in order.
        samples: The images.
    """

    root: Path
    split: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def digest(self) -> str:
        """Identifies labels, files (by name and size) and votes of this split."""
        rows = [
            (s.file.relative_to(self.root).as_posix(), s.file.stat().st_size, s.label, s.votes) for s in self.samples
        ]
        return digest_json([self.labels, rows])

    def targets(self, *, soft: bool) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Returns float32 ``[n, N]``: shares of votes where there are any and ``soft``, else one-hot."""
        out = np.zeros((len(self.samples), len(self.labels)), dtype=np.float32)
        for row, sample in zip(out, self.samples, strict=True):
            if soft and any(sample.votes):
                votes = np.asarray(sample.votes, dtype=np.float32)
                votes[sample.label] += 1e-3  # a tie goes to the label
                row[:] = votes / votes.sum()
            else:
                row[sample.label] = 1
        return out


def find_root(data: str) -> Path:
    """Resolves ``PATH`` or ``LAYOUT:PATH`` to a folder.

    Raises:
        DataError: If the layout is unknown or the folder does not exist.
    """
    layout, colon, rest = data.partition(":")
    if colon and not Path(data).exists():
        if layout != "folder":
            raise DataError(f"The layout {layout!r} of {data!r} is not known.", allowed="Known layouts: folder.")
        data = rest
    root = Path(data)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"The data folder {root} {what}.",
            remedy="Give a folder <split>/<class>/<image>, or draw one with: arbex synth faces.",
        )
    return root


def class_folders(folder: Path) -> list[Path]:
    """Returns the class folders directly below ``folder``, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def split_folder(root: Path, split: str) -> Path | None:
    """Returns the folder of a split, the root itself when there are no splits, or nothing when it is missing."""
    names = {p.name for p in class_folders(root)}
    if not names & {name for aliases in SPLITS.values() for name in aliases}:
        return root
    return next((root / name for name in SPLITS[split] if name in names), None)


def declared_labels(root: Path) -> tuple[str, ...] | None:
    """Returns the class order that ``classes.txt`` declares, if there is one."""
    file = root / "classes.txt"
    if not file.is_file():
        return None
    return tuple(
        line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    )


def read_labels(root: Path, folder: Path) -> tuple[str, ...]:
    """Returns the class order: declared, else the usual one of expressions, else alphabetical."""
    names = [p.name for p in class_folders(folder)]
    declared = declared_labels(root)
    if declared:
        strange = sorted(set(names) - set(declared))
        if strange:
            raise DataError(
                f"{folder} has a class folder {strange[0]!r} that {root / 'classes.txt'} does not list.",
                allowed=f"Listed: {', '.join(declared)}.",
                remedy="Add it to classes.txt, or remove the folder.",
            )
        return declared
    usual = [name for name in (*EXPRESSIONS, "contempt", "other") if name in names]
    return tuple(usual) if len(usual) == len(names) else tuple(names)


def check_labels(root: Path, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Refuses a data set whose classes are not those of the model.

    Raises:
        DataError: If there is no class, one is missing or unknown, or ``classes.txt`` declares another order.
    """
    if not found:
        raise DataError(f"{root} holds no class folders.", allowed="Expected is <split>/<class>/<image>.")
    if set(found) != set(expected):
        raise DataError(
            f"The classes of {root} are {', '.join(found)}; the model was trained on {', '.join(expected)}.",
            remedy="Rename the class folders to the model's names, or use a model trained on these classes.",
        )
    if found != expected and declared_labels(root):
        raise DataError(
            f"{root / 'classes.txt'} declares the class order {', '.join(found)}; the model answers in the order "
            f"{', '.join(expected)}.",
            remedy="Put classes.txt into the model's order (votes in labels.csv go by position).",
        )


def read_table(root: Path, labels: tuple[str, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Reads ``labels.csv``: subject and votes by file name relative to the root."""
    file = root / "labels.csv"
    if not file.is_file():
        return {}
    table = {}
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                votes = tuple(int(v) for v in row["votes"].split())
                table[row["file"]] = row["subject"], votes
            except (KeyError, ValueError, AttributeError) as error:
                raise DataError(
                    f"Line {number} of {file} cannot be read: {row}.",
                    allowed="Columns: file, split, subject, label, true_label, votes (whole numbers, by class order).",
                ) from error
            if votes and len(votes) != len(labels):
                raise DataError(f"Line {number} of {file} has {len(votes)} votes for {len(labels)} classes.")
    return table


def read_split(data: str, split: str, *, labels: tuple[str, ...] | None = None, hold_out: bool = False) -> FaceSet:
    """Reads one split of a data set.

    Args:
        data: ``PATH`` or ``LAYOUT:PATH``.
        split: ``train``, ``val`` or ``test``. A folder without splits serves as any. Where only ``val`` is
            missing, it is every 10th person of the training split (where ``labels.csv`` names people, whose images
            must not lie on both sides) or every 10th training image of a class.
        labels: The model's class order, which the data set must then have.
        hold_out: For training: where no validation split exists, ``train`` and ``val`` are disjoint.

    Raises:
        DataError: If folder, split, classes or images are missing or do not fit.
    """
    root = find_root(data)
    folder, train = split_folder(root, split), split_folder(root, "train")
    keep = None  # all images, or only those held out (True), or only the others (False)
    if split == "val" and (folder is None or (folder == root and hold_out)):
        folder, keep = train, True
    elif split == "train" and hold_out and split_folder(root, "val") in (None, root):
        keep = False
    if folder is None:
        found_splits = ", ".join(p.name for p in class_folders(root))
        raise DataError(f"{root} has no split {split!r}.", allowed=f"Found: {found_splits}.")
    found = read_labels(root, folder)
    if labels is not None:
        check_labels(root, found, labels)
    labels = labels or found
    if len(labels) < 2:
        raise DataError(
            f"{folder} holds {len(labels)} class folders; a classifier needs at least 2.",
            allowed="Expected is <class>/<image>.",
        )
    samples = read_samples(root, folder, labels)
    if keep is not None:
        part = tuple(s for s, held in zip(samples, held_out(samples), strict=True) if held == keep)
        check_every_class(part, labels, f"the {split} part of {folder}, which was split by people")
        samples = part
    return FaceSet(root, split, labels, samples)


def read_samples(root: Path, folder: Path, labels: tuple[str, ...]) -> tuple[Sample, ...]:
    """Returns the images below the class folders of ``folder``, with what ``labels.csv`` knows of them."""
    table, samples = read_table(root, labels), []
    for label, name in enumerate(labels):
        for file in find_images(folder / name) if (folder / name).is_dir() else []:
            group, votes = table.get(file.relative_to(root).as_posix(), ("", ()))
            samples.append(Sample(file, label, group, votes))
    check_every_class(samples, labels, str(folder))
    return tuple(samples)


def held_out(samples: Sequence[Sample]) -> Iterator[bool]:
    """Says of each image whether it is held out for validation."""
    people = set(sorted({s.group for s in samples} - {""})[::HELD_OUT])
    seen: Counter[int] = Counter()
    for sample in samples:
        if sample.group:
            yield sample.group in people
        else:
            yield seen[sample.label] % HELD_OUT == 0
            seen[sample.label] += 1


def check_every_class(samples: Sequence[Sample], labels: tuple[str, ...], where: str) -> None:
    """Refuses images among which a class is missing.

    Raises:
        DataError: If one is.
    """
    present = {s.label for s in samples}
    for label, name in enumerate(labels):
        if label not in present:
            raise DataError(
                f"The class {name!r} has no images in {where}.",
                remedy="Add images of it, or remove the class from every split and from classes.txt.",
            )


def summary(faces: FaceSet) -> str:
    """Returns one line: how many images, people and images a class."""
    counts = Counter(s.label for s in faces.samples)
    people = len({s.group for s in faces.samples if s.group})
    by_class = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(faces.labels))
    return f"{len(faces.samples)} images" + (f" of {people} people" if people else "") + f" ({by_class})"
