"""Reading one split of a data set in any layout."""

from __future__ import annotations

from collections.abc import Mapping

from arbex.checks import check_name
from arbex.data.class_map import check_map, mapped
from arbex.data.layouts import open_layout
from arbex.data.layouts.base import ANY, Layout
from arbex.data.samples import FaceSet, Sample, check_every_class, held_out
from arbex.errors import DataError
from arbex.spec import SPLITS

ALL = "all"
"""Name of the images of all splits together, for measuring a model on a data set that it has never seen."""


def read_split(
    data: str,
    split: str,
    *,
    labels: tuple[str, ...] | None = None,
    hold_out: bool = False,
    mapping: Mapping[str, str] | None = None,
) -> FaceSet:
    """Reads one split of a data set.

    Args:
        data: ``PATH``, ``LAYOUT:PATH`` or ``LAYOUT,OPTION=VALUE:PATH``.
        split: ``train``, ``val`` or ``test``, or ``all`` of them together. A data set without splits serves as each of
            them. If only ``val`` is missing, it is made of every 10th person of the training split, or of every 10th
            training image of a class where people are unknown.
        labels: Class names in the order of the model. Without a mapping, the data set must have the same classes.
        hold_out: Whether, without a validation split, ``train`` leaves out the images of ``val``; for training.
        mapping: Class of the model, or ``-`` to leave it out, by class of the data set; a class that is missing keeps
            its name. The data set may then lack classes of the model.

    Raises:
        UnsupportedError: If there is no split of that name, or no such layout or option.
        DataError: If folder, split, classes or images are missing or do not fit.
    """
    check_name("split", split, (*SPLITS, ALL))
    layout = open_layout(data)
    if split == ALL:
        sources: list[tuple[str, bool | None]] = [(name, None) for name in layout.splits()]
    else:
        sources = [locate(layout, split, hold_out)]
    whole = name_of(layout, sources[0][0] if len(sources) == 1 else ANY)
    if labels is not None and mapping is not None:
        classes = tuple(dict.fromkeys(name for source, _ in sources for name in layout.labels(source)))
        check_map(mapping, classes, labels, whole)
    samples: list[Sample] = []
    for source, held in sources:
        labels, found = read_source(layout, source, labels, mapping)
        if held is not None:
            found = [s for s, is_held in zip(found, held_out(found), strict=True) if is_held == held]
            if mapping is None:
                by = "people" if any(s.group for s in found) else "class"
                check_every_class(
                    found, labels, f"the {split} part of {name_of(layout, source)}, which is split by {by}"
                )
        samples += found
    assert labels is not None  # every layout has a split
    if mapping is None:
        check_every_class(samples, labels, whole)
    if not samples:
        raise DataError(f"{layout.root} has no images of the classes {', '.join(labels)}.", remedy="Check the path.")
    return FaceSet(layout.root, split, labels, tuple(samples))


def has_splits(data: str) -> bool:
    """Returns whether a data set is split; one that is not serves as each of its splits.

    Raises:
        UnsupportedError: If there is no such layout or option.
        DataError: If the folder does not hold such a data set.
    """
    return ANY not in open_layout(data).splits()


def read_training_part(data: str, labels: tuple[str, ...]) -> FaceSet | None:
    """Reads the images that a training on a data set sees.

    Args:
        data: The data set.
        labels: Class names in the order of the model.

    Returns:
        None where the data has other classes, or no images to train on.

    Raises:
        UnsupportedError: If there is no such layout or option.
        DataError: If the folder does not hold such a data set.
    """
    layout = open_layout(data)
    splits = layout.splits()
    source = ANY if ANY in splits else "train"
    if source not in splits or set(layout.labels(source)) != set(labels):
        return None
    return read_split(data, "train", labels=labels, hold_out=True, mapping={})


def read_source(
    layout: Layout, source: str, labels: tuple[str, ...] | None, mapping: Mapping[str, str] | None
) -> tuple[tuple[str, ...], list[Sample]]:
    """Reads what a data set stores as one split.

    Args:
        layout: The data set.
        source: One of its splits.
        labels: Class names in the order of the model; by default those of the data set.
        mapping: As for ``read_split``, which has checked it.

    Returns:
        Class names in order, and the images.

    Raises:
        DataError: If classes are missing or do not fit, or images cannot be found.
    """
    found = layout.labels(source)
    if labels is not None and mapping is not None and found and (mapping or set(found) != set(labels)):
        return labels, mapped(layout.samples(source, found), mapping, found, labels)
    if labels is not None:
        check_labels(layout, found, labels)
    labels = labels or found
    if len(labels) < 2:
        there = f"one class only, {labels[0]!r}" if labels else "no classes"
        raise DataError(
            f"{layout.root} holds {there}.",
            allowed="Allowed: 2 or more, each a folder of images: <class>/<image>.",
            remedy="Check the path, or sort the images into one folder per class.",
        )
    return labels, layout.samples(source, labels)


def name_of(layout: Layout, source: str) -> str:
    """Returns what messages call a split of a data set."""
    return f"the split {source!r} of {layout.root}" if source else str(layout.root)


def locate(layout: Layout, split: str, hold_out: bool) -> tuple[str, bool | None]:
    """Returns which split of a data set serves as ``split``.

    Returns:
        Name of that split, and which of its images to use: those held out for validation (True), the others (False) or
        all (None).

    Raises:
        DataError: If the data set lacks the split.
    """
    there = layout.splits()
    whole = ANY in there
    if not whole and split not in there and not (split == "val" and "train" in there):
        raise DataError(f"{layout.root} has no split {split!r}.", allowed=f"Allowed: {', '.join(there)}.")
    train = ANY if whole else "train"
    if split == "val" and (hold_out if whole else "val" not in there):
        return train, True
    if split == "train" and hold_out and (whole or "val" not in there):
        return train, False
    return ANY if whole else split, None


def check_labels(layout: Layout, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Checks that a data set has the classes of the model.

    Raises:
        DataError: If it has no classes or others, or declares another order of them.
    """
    if not found:
        raise DataError(
            f"{layout.root} holds no class folders.",
            allowed="Allowed: <split>/<class>/<image>.",
            remedy="Check the path, or sort the images into one folder per class.",
        )
    if set(found) != set(expected):
        raise DataError(
            f"The classes of {layout.root} are {', '.join(found)}; the model was trained on {', '.join(expected)}.",
            remedy="Rename the class folders to the model's names, or use a model trained on these classes.",
        )
    if found != expected:
        layout.check_order(found, expected)
