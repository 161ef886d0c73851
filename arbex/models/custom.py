"""Custom backbones: any module from images to vectors in place of the encoder.

A run stores the name of the callable that builds its backbone. Reading a run never imports that name: whoever loads the
run gives the callable or its name again, and so decides which code runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from arbex.errors import InputError, reason

Backbone: TypeAlias = Callable[[], nn.Module]
"""Returns a module from normalized images ``[B, 3, S, S]`` to vectors ``[B, F]``."""

PRESET = "custom"
"""Name that stands for the preset in a run on a custom backbone."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The shape of a custom backbone, as a run stores it.

    Attributes:
        backbone: Name of the callable that builds it, ``package.module:callable``.
        image_size: Side of the input in pixels.
        out_features: Width of the vectors.
    """

    backbone: str
    image_size: int
    out_features: int

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BackboneConfig:
        """Builds the value from what ``to_json`` returned."""
        return cls(
            backbone=str(value["backbone"]),
            image_size=int(value["image_size"]),
            out_features=int(value["out_features"]),
        )


def import_backbone(name: str) -> Backbone:
    """Imports ``package.module:callable``, also from the working folder.

    The name must come from the user, never from a file.

    Raises:
        InputError: If the name cannot be imported, or is not that of a callable.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise InputError(
            f"The backbone {name!r} names no callable.",
            allowed="Allowed: package.module:callable, such as mynets.vit:build.",
        )
    here = str(Path.cwd())
    try:
        with importable(here):
            factory = attrgetter(attribute)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"The backbone {name!r} cannot be imported: {error}.",
            remedy="Install its package, or call arbex from the folder that holds the module.",
        ) from error
    if not callable(factory):
        raise InputError(
            f"The backbone {name!r} is of type {type(factory).__name__}.",
            allowed="Allowed: a callable without arguments that returns an nn.Module.",
        )

    def build() -> nn.Module:
        with importable(here):  # the callable may import more modules of the user's
            module: nn.Module = factory()
        return module

    return build


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """Makes the modules in a folder importable while the block runs."""
    if folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # what was imported may have changed the path itself
            sys.path.remove(folder)


def measure(name: str, factory: Backbone, image_size: int) -> tuple[nn.Module, BackboneConfig]:
    """Builds a backbone and measures the width of its vectors.

    Args:
        name: Name of the backbone, for its configuration and for errors.
        factory: Callable that builds it.
        image_size: Side of the input in pixels.

    Raises:
        InputError: If it cannot be built, or is not a module from images to vectors.
    """
    try:
        module = factory()
    except Exception as error:  # the user's code may raise anything
        raise InputError(
            f"The backbone {name!r} cannot be built: {type(error).__name__}: {error}.",
            allowed="Allowed: a callable without arguments.",
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(f"The backbone {name!r} returned {type(module).__name__}.", allowed="Allowed: an nn.Module.")
    images = torch.zeros(2, 3, image_size, image_size)
    training = module.training
    try:
        with torch.no_grad():
            vector = module.eval()(images)
    except Exception as error:  # the user's module may raise anything, too
        raise InputError(
            f"The backbone {name!r} cannot take images {list(images.shape)}: {reason(error)}.",
            remedy="Give the size that it needs with --image-size.",
        ) from error
    module.train(training)
    if not isinstance(vector, Tensor) or vector.dim() != 2 or len(vector) != len(images):
        found = list(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
        raise InputError(
            f"The backbone {name!r} returned {found} for images {list(images.shape)}.",
            allowed="Allowed: one vector per image, [B, F].",
            remedy="Wrap the module so that it returns the vectors alone.",
        )
    return module, BackboneConfig(backbone=name, image_size=image_size, out_features=vector.shape[1])
