"""Finding what a published file is, and matching its tensors with a model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from arbex.errors import RunError
from arbex.weights.public_names import ENCODER, IMAGE, LANDMARKS, UNUSED, below, image_name, landmark_name, poster_name
from arbex.weights.torch_file import WeightsFile

LEAST_COVERAGE = 0.9
"""Share of a part, by tensors and by values, that a file must fill."""


@dataclass(frozen=True)
class Source:
    """A kind of file.

    Attributes:
        name: For people.
        marks: Beginnings of names by which it is known; all must occur.
        covers: Beginning of the names in the model that the file fills.
        rename: From a name in the file to one in the model, to ``UNUSED``, or to nothing.
    """

    name: str
    marks: tuple[str, ...]
    covers: str
    rename: Callable[[str], str | None]

    @property
    def brings_landmarks(self) -> bool:
        """Whether the file fills the landmark backbone."""
        return LANDMARKS.startswith(self.covers)


SOURCES = (
    Source("POSTER++", ("ir_back.", "face_landback."), ENCODER, poster_name),
    Source("IR50", ("input_layer.", "body"), IMAGE, below(IMAGE, image_name)),
    Source("MobileFaceNet", ("conv2_dw.", "conv_6_sep."), LANDMARKS, below(LANDMARKS, landmark_name)),
    Source("arbex", ("encoder.", "head."), ENCODER, lambda name: name),
)


def recognize(file: WeightsFile) -> Source:
    """Returns what a file is, by the names in it.

    Raises:
        RunError: If it is none of ``SOURCES``.
    """
    for source in SOURCES:
        if all(any(name.startswith(mark) for name in file.tensors) for mark in source.marks):
            return source
    some = ", ".join(list(file.tensors)[:3])
    raise RunError(
        f"{file.path} is none of the known checkpoints: its {len(file.tensors)} tensors begin with {some}.",
        allowed=f"Allowed: {', '.join(source.name for source in SOURCES)}.",
    )


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A tensor whose shape is not the model's."""

    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        """Shows both shapes."""
        return f"{self.name} is {list(self.found)}, expected {list(self.expected)}"


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Which tensors of a file go where.

    Attributes:
        source: What the file is.
        tensors: float32 or int64 tensors by their name in the model.
        renamed: The same names by those in the file.
        unused: Tensors of the file that have no use here, as expected of this kind of file.
        unknown: Tensors of the file that nobody expects.
        missing: Names in the model that the file should fill and does not.
        conflicts: Tensors that have a place but another shape.
        coverage: Share of the covered part that is filled, by tensors or by values, whichever is less.
    """

    source: Source
    tensors: dict[str, Tensor]
    renamed: dict[str, str]
    unused: tuple[str, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    coverage: float


def match(file: WeightsFile, model: nn.Module) -> Matching:
    """Finds a place in ``model`` for every tensor of a file.

    Raises:
        RunError: If the file is of no known kind, or a value in it is not finite.
    """
    source = recognize(file)
    wanted = model.state_dict()
    renamed: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    unused: list[str] = []
    unknown: list[str] = []
    conflicts: list[Conflict] = []
    for name, tensor in file.tensors.items():
        ours = source.rename(name)
        if ours == UNUSED:
            unused.append(name)
        elif ours is None or ours not in wanted:
            (unused if source.name == "arbex" or (ours or "").startswith("head.") else unknown).append(name)
        elif tensor.shape != wanted[ours].shape:
            conflicts.append(Conflict(name=name, found=tuple(tensor.shape), expected=tuple(wanted[ours].shape)))
        else:
            renamed[name] = ours
            tensors[ours] = converted(file, name, tensor, wanted[ours])
    expected = {name: t for name, t in wanted.items() if name.startswith(source.covers)}
    counters = {name for name in expected if name.endswith("num_batches_tracked")}  # of no use outside training
    missing = tuple(name for name in expected if name not in tensors and name not in counters)
    return Matching(
        source=source,
        tensors=tensors,
        renamed=renamed,
        unused=tuple(unused),
        unknown=tuple(unknown),
        missing=missing,
        conflicts=tuple(conflicts),
        coverage=coverage(expected, tensors, counters),
    )


def converted(file: WeightsFile, name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Returns a tensor in the model's type; half precision becomes single."""
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise RunError(f"{name} in {file.path} holds values that are not finite.", remedy="Use another checkpoint.")
    return tensor.to(like.dtype).contiguous()


def coverage(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], counters: set[str]) -> float:
    """Returns the share of ``expected`` that ``tensors`` fill, by number or by values, whichever is less."""
    names = [name for name in expected if name not in counters]
    filled = [name for name in names if name in tensors]
    values = sum(expected[name].numel() for name in filled) / sum(expected[name].numel() for name in names)
    return min(len(filled) / len(names), values)


def fill(model: nn.Module, file: WeightsFile, *, head: bool = True) -> Matching:
    """Loads a file into the part of ``model`` that it fits.

    Args:
        model: Where to.
        file: What.
        head: Take over tensors of the head too, where they fit.

    Raises:
        RunError: If it fills less than ``LEAST_COVERAGE`` of that part; the model is unchanged then.
    """
    matching = match(file, model)
    if not head:
        matching = replace(matching, tensors={k: v for k, v in matching.tensors.items() if k.startswith(ENCODER)})
    if matching.coverage < LEAST_COVERAGE:
        first = next(iter(matching.conflicts), None) or f"{matching.missing[0]} is missing"
        raise RunError(
            f"{file.path} looks like {matching.source.name} and fills only {matching.coverage:.0%} of "
            f"{matching.source.covers.rstrip('.')}: {len(matching.missing)} tensors are not filled, {first}.",
            allowed=f"At least {LEAST_COVERAGE:.0%} must fit.",
            remedy="The published checkpoints fit preset base; other widths or another architecture do not.",
        )
    model.load_state_dict({**model.state_dict(), **matching.tensors})
    return matching
