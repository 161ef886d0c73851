"""The formats that can be written, and the targets that they serve. A writer is registered here once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arbex.checks import check_name
from arbex.errors import UnsupportedError
from arbex.packages import OPENCV, TRAINING, Package
from arbex.spec import PRECISIONS
from export.formats.base import Writer
from export.formats.coreai_asset import CoreAiAsset
from export.formats.coreml_writer import CoreMlWriter
from export.formats.executorch_program import ExecuTorchProgram
from export.formats.litert_model import LiteRtModel
from export.formats.onnx_graph import OnnxGraph
from export.formats.rtx_engine import RtxEngine
from export.formats.torch_tensorrt_engine import TorchTensorRtEngine
from export.targets import Target
from runtimes.registry import runtime_packages

WRITERS: dict[str, Writer] = {}
"""Writers by the name of their format."""

TARGETS: dict[str, Target] = {}
"""All targets by name."""

DEFAULT_BUILDER = "onnx"


def register_writer(writer: Writer) -> Writer:
    """Registers a writer with its targets, and returns it.

    Raises:
        UnsupportedError: If the format has a writer, or a target of that name exists.
    """
    if writer.format.name in WRITERS:
        raise UnsupportedError(
            f"The format {writer.format.name!r} already has a writer.", remedy="Give the new format another name."
        )
    taken = [target.name for target in writer.targets if target.name in (*TARGETS, "all")]
    if taken:
        raise UnsupportedError(
            f"The target {taken[0]!r} is already registered.", remedy="Give the new target another name."
        )
    WRITERS[writer.format.name] = writer
    TARGETS.update({target.name: target for target in writer.targets})
    return writer


def builders() -> list[str]:
    """Returns the values of ``--builder``."""
    return [DEFAULT_BUILDER, *(writer.builder for writer in WRITERS.values() if writer.builder)]


def all_packages() -> list[Package]:
    """Returns every package that some part of the toolkit needs, each once: runtimes first, writers last."""
    written = [package for writer in WRITERS.values() for package in writer.packages]
    return list(dict.fromkeys([*runtime_packages(), OPENCV, *TRAINING, *written]))


def choose_targets(names: Sequence[str]) -> list[Target]:
    """Returns the targets with the given names, each once; ``all`` stands for those that it includes.

    Raises:
        UnsupportedError: If a name is unknown or none is given.
    """
    allowed = (*TARGETS, "all")
    if not names:
        raise UnsupportedError("No target was given.", allowed=f"Allowed: {', '.join(allowed)}.")
    for name in names:
        check_name("target", name, allowed)
    everything = [target.name for target in TARGETS.values() if target.in_all]
    chosen = dict.fromkeys(name for given in names for name in (everything if given == "all" else [given]))
    return [TARGETS[name] for name in chosen]


def choose_precisions(target: Target, asked: Sequence[str]) -> tuple[str, ...]:
    """Returns the precisions of a target, in a fixed order.

    Raises:
        UnsupportedError: If one is unknown.
    """
    for name in asked:
        check_name("precision", name, PRECISIONS)
    return tuple(p for p in PRECISIONS if p in asked) if asked else target.precisions


def choose_writers(target: Target, builder: str = DEFAULT_BUILDER) -> tuple[Writer, ...]:
    """Returns the writers of a target's artifacts, in order.

    Raises:
        UnsupportedError: If there is no such builder.
    """
    check_name("builder", builder, builders())
    asked = [w for w in WRITERS.values() if w.builder == builder and w.extends == target.name]
    return (*(WRITERS[name] for name in target.formats), *asked)


def register_all(writers: Iterable[Writer]) -> None:
    """Registers several writers."""
    for writer in writers:
        register_writer(writer)


# In the order in which help and ``all`` name their targets.
register_all(
    (OnnxGraph(), CoreMlWriter(), LiteRtModel(), RtxEngine(), TorchTensorRtEngine(), ExecuTorchProgram(), CoreAiAsset())
)
