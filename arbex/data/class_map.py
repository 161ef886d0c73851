"""Which class of a model each class of a data set stands for, where the two do not have the same classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from arbex.data.samples import Sample
from arbex.errors import DataError, InputError

DROPPED = "-"
"""In place of a class of the model: images of the data set's class are left out."""


def parse_map(texts: Iterable[str]) -> dict[str, str]:
    """Reads ``CLASS=CLASS`` texts, the class of the data set first.

    Raises:
        InputError: If a text has another form, or a class is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        own, equals, wanted = (part.strip() for part in text.partition("="))
        if not (own and equals and wanted) or own in found:
            problem = f"The class {own!r} is mapped twice." if own in found else f"The mapping is {text!r}."
            raise InputError(
                problem,
                allowed=f"Allowed: the data set's class, '=', and the model's class, or {DROPPED!r} to leave it out; "
                "each class of the data set once.",
            )
        found[own] = wanted
    return found


def check_map(mapping: Mapping[str, str], found: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Checks that a mapping leads from every class of a data set to a class of the model.

    Args:
        mapping: Class of the model, or ``DROPPED``, by class of the data set; a class that is missing keeps its name.
        found: Classes of the data set.
        wanted: Classes of the model.
        where: The data set, for errors.

    Raises:
        DataError: If it names other classes, or a class of the data set leads to none of the model.
    """
    for own, target in mapping.items():
        if own not in found:
            raise DataError(f"{where} has no class {own!r} to map.", allowed=f"Allowed: {', '.join(found)}.")
        if target not in (*wanted, DROPPED):
            raise DataError(
                f"The class {own!r} of {where} is mapped to {target!r}, which the model does not have.",
                allowed=f"Allowed: {', '.join(wanted)}, and {DROPPED!r} to leave the class out.",
            )
    strange = [name for name in found if name not in wanted and name not in mapping]
    if strange:
        raise DataError(
            f"The classes of {where} are {', '.join(found)}; the model was trained on {', '.join(wanted)}.",
            remedy=f"Say what becomes of {', '.join(strange)}: --map {strange[0]}=CLASS, or "
            f"--map {strange[0]}={DROPPED} to leave its images out.",
        )


def mapped(
    samples: Iterable[Sample], mapping: Mapping[str, str], found: Sequence[str], wanted: Sequence[str]
) -> list[Sample]:
    """Returns samples with the classes of the model.

    Args:
        samples: Samples with the classes of the data set.
        mapping: As for ``check_map``, which it must have passed.
        found: Classes of the data set, in the order of the samples' labels and votes.
        wanted: Classes of the model, in the order of the result's.

    Returns:
        The samples whose class is not left out. Votes for a class that is left out are not counted.
    """
    targets = [mapping.get(name, name) for name in found]
    places = [wanted.index(target) if target != DROPPED else None for target in targets]
    out = []
    for sample in samples:
        label = places[sample.label]
        if label is not None:
            out.append(replace(sample, label=label, votes=gathered(sample.votes, places, len(wanted))))
    return out


def gathered(votes: Sequence[int], places: Sequence[int | None], count: int) -> tuple[int, ...]:
    """Returns votes by class of the model, given the place there of each class of the data set."""
    if not votes:
        return ()
    sums = [0] * count
    for vote, place in zip(votes, places, strict=True):
        if place is not None:
            sums[place] += vote
    return tuple(sums)
