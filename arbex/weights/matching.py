"""Recognizing published checkpoints, and matching their tensors with those of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from arbex.errors import RunError
from arbex.weights.public_names import (
    ENCODER,
    IMAGE,
    LANDMARKS,
    UNUSED,
    below,
    image_name,
    landmark_name,
    poster_name,
    pyramid_name,
    pyramid_tensor,
)
from arbex.weights.torch_file import WeightsFile

LEAST_COVERAGE = 0.9
"""Smallest share of a part of the model, by tensors and by values, that a checkpoint must fill."""


def as_it_is(name: str, tensor: Tensor) -> Tensor:
    """Returns the tensor."""
    return tensor


@dataclass(frozen=True)
class Source:
    """A kind of checkpoint.

    Attributes:
        name: Name for messages.
        marks: Prefixes of tensor names that identify it; all of them must occur.
        covers: Prefix of the model's names that it fills.
        rename: Function from a name in the checkpoint to the name in the model, ``UNUSED``, or None if it is unknown.
        convert: Function from a name in the model and the checkpoint's tensor to the tensor in the model's form.
    """

    name: str
    marks: tuple[str, ...]
    covers: str
    rename: Callable[[str], str | None]
    convert: Callable[[str, Tensor], Tensor] = as_it_is

    @property
    def brings_landmarks(self) -> bool:
        """Whether the checkpoint fills the landmark backbone."""
        return LANDMARKS.startswith(self.covers)


PYRAMID = "POSTER"
"""Name of the checkpoints of POSTER's first version."""

SOURCES = (
    Source(PYRAMID, ("pyramid_fuse.",), ENCODER, pyramid_name, pyramid_tensor),
    Source("POSTER++", ("ir_back.", "face_landback."), ENCODER, poster_name),
    Source("IR50", ("input_layer.", "body"), IMAGE, below(IMAGE, image_name)),
    Source("MobileFaceNet", ("conv2_dw.", "conv_6_sep."), LANDMARKS, below(LANDMARKS, landmark_name)),
    Source("arbex", ("encoder.", "head."), ENCODER, lambda name: name),
)


def recognize(file: WeightsFile) -> Source:
    """Returns the kind of a checkpoint, by the names of its tensors.

    Raises:
        RunError: If it is none of ``SOURCES``.
    """
    for source in SOURCES:
        if all(any(name.startswith(mark) for name in file.tensors) for mark in source.marks):
            return source
    some = ", ".join(list(file.tensors)[:3])
    raise RunError(
        f"{file.path} is none of the known checkpoints: the first of its {len(file.tensors)} tensors are {some}.",
        allowed=f"Allowed: {', '.join(source.name for source in SOURCES)}.",
        remedy="See docs/weights.md for the checkpoints that arbex reads.",
    )


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A tensor whose shape differs from the model's.

    Attributes:
        name: Name in the checkpoint.
        found: Shape in the checkpoint.
        expected: Shape in the model.
    """

    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        """Returns the name and both shapes, for messages."""
        return f"{self.name} is {list(self.found)}, not {list(self.expected)}"


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Assignment of a checkpoint's tensors to those of a model.

    Attributes:
        source: Kind of the checkpoint.
        tensors: Matched tensors, float32 or int64, by name in the model.
        renamed: Names of the matched tensors in the model, by name in the checkpoint.
        unused: Tensors that this kind of checkpoint has and the model does not need.
        unknown: Tensors that this kind of checkpoint usually does not have.
        missing: Names in the model that the checkpoint should fill and does not.
        conflicts: Tensors that have a place in the model, but another shape.
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
    """Matches the tensors of a checkpoint with those of a model.

    Raises:
        RunError: If the checkpoint is of an unknown kind, or a value in it is not finite.
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
        elif (ready := source.convert(ours, tensor)).shape != wanted[ours].shape:
            conflicts.append(Conflict(name=name, found=tuple(ready.shape), expected=tuple(wanted[ours].shape)))
        else:
            renamed[name] = ours
            tensors[ours] = converted(file, name, ready, wanted[ours])
    expected = {name: t for name, t in wanted.items() if name.startswith(source.covers)}
    counters = {name for name in expected if name.endswith("num_batches_tracked")}  # not needed outside of training
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
    """Returns a tensor in the type of ``like``, its counterpart in the model.

    Raises:
        RunError: If a value is not finite.
    """
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise RunError(f"{name} in {file.path} holds values that are not finite.", remedy="Use another checkpoint.")
    return tensor.to(like.dtype).contiguous()


def coverage(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], counters: set[str]) -> float:
    """Returns the share of ``expected`` that ``tensors`` fill, by tensors or by values, whichever is less."""
    names = [name for name in expected if name not in counters]
    filled = [name for name in names if name in tensors]
    values = sum(expected[name].numel() for name in filled) / sum(expected[name].numel() for name in names)
    return min(len(filled) / len(names), values)


def fill(model: nn.Module, file: WeightsFile, *, head: bool = True) -> Matching:
    """Loads a checkpoint into the part of a model that it covers.

    Args:
        model: The model, which is changed in place.
        file: The checkpoint.
        head: Whether to load tensors of the head as well, where they fit.

    Raises:
        RunError: If it fills less than ``LEAST_COVERAGE`` of that part; the model is unchanged then.
    """
    matching = match(file, model)
    if not head:
        matching = replace(matching, tensors={k: v for k, v in matching.tensors.items() if k.startswith(ENCODER)})
    if matching.coverage < LEAST_COVERAGE:
        covered = (each for each in matching.conflicts if matching.source.rename(each.name) in matching.missing)
        first = next(covered, None) or f"{matching.missing[0]} is missing"
        raise RunError(
            f"{file.path} looks like {matching.source.name}, but fills only {matching.coverage:.0%} of "
            f"{matching.source.covers.rstrip('.')}: {len(matching.missing)} tensors are not filled, {first}.",
            allowed=f"Allowed: {LEAST_COVERAGE:.0%} or more.",
            remedy="Give the preset or the backbone that it was trained with."
            if matching.source.name == "arbex"
            else "The published checkpoints fit preset base, and those of POSTER preset poster-v1 only.",
        )
    model.load_state_dict({**model.state_dict(), **matching.tensors})
    return matching
