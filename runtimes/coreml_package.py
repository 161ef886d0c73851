"""Reading a Core ML package back without a Mac: interface, operations, weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES, digest_file, digest_json
from runtimes.vendor_output import hidden_output


@dataclass(frozen=True)
class PackageContent:
    """What an ``.mlpackage`` holds.

    Attributes:
        inputs: Names of its inputs.
        outputs: Names of its outputs, in order.
        operations: How often each operation occurs, without constants.
        weights_digest: sha-256 over the weight files.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: dict[str, int]
    weights_digest: str


def read_package(path: Path) -> PackageContent:
    """Reads a package's specification.

    Raises:
        MissingPackageError: If coremltools is not installed.
        BackendError: If the package is damaged.
    """
    try:
        with hidden_output():
            import coremltools
    except ImportError as error:
        raise MissingPackageError("coremltools", "reading Core ML packages", extra="export") from error
    try:
        with hidden_output():
            spec: Any = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec()
            function = spec.mlProgram.functions["main"]
            block = function.block_specializations[function.opset]
    except Exception as error:
        raise BackendError(f"The Core ML package {path} cannot be read: {error}") from error
    weights = sorted(p for p in path.rglob("*.bin") if p.is_file())
    return PackageContent(
        inputs=tuple(f.name for f in spec.description.input),
        outputs=tuple(f.name for f in spec.description.output),
        operations=dict(Counter(o.type for o in block.operations if o.type != "const")),
        weights_digest=digest_json([digest_file(p) for p in weights]),
    )


def problems(content: PackageContent, recorded: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with a package, as sentences; nothing when all is as it should be.

    Args:
        content: What the package holds.
        recorded: What the exporter wrote into the manifest, the JSON form of a ``PackageContent``.
    """
    found = []
    for name, expected in (("inputs", (INPUT_NAME,)), ("outputs", OUTPUT_NAMES)):
        if getattr(content, name) != expected:
            found.append(f"its {name} are {list(getattr(content, name))}, expected is {list(expected)}")
    if content.weights_digest != recorded.get("weights_digest"):
        found.append("its weights are not those that were exported")
    if content.operations != recorded.get("operations"):
        found.append("its operations are not those that were exported")
    return found
