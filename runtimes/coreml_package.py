"""The content of Core ML packages: interface, operations and weights, to be compared with what was exported."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from arbex.errors import BackendError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES, digest_file, digest_json
from runtimes.coreml_evaluator.package_files import read_specification
from runtimes.formats import Content


@dataclass(frozen=True)
class PackageContent:
    """Content of an ``.mlpackage``.

    Attributes:
        inputs: Names of its inputs.
        outputs: Names of its outputs, in order.
        operations: Number of operations by type, without constants.
        weights_digest: Digest over the files of weights.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: dict[str, int]
    weights_digest: str


def read_package(path: Path) -> PackageContent:
    """Reads the specification of a package.

    Raises:
        MissingPackageError: If coremltools is not installed.
        BackendError: If the package is damaged, or its inputs and outputs are not those of a bundle.
    """
    spec, _ = read_specification(path)
    function = spec.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    weights = sorted(p for p in path.rglob("*.bin") if p.is_file())
    content = PackageContent(
        inputs=tuple(f.name for f in spec.description.input),
        outputs=tuple(f.name for f in spec.description.output),
        operations=dict(Counter(o.type for o in block.operations if o.type != "const")),
        weights_digest=digest_json([digest_file(p) for p in weights]),
    )
    for name, expected in (("inputs", (INPUT_NAME,)), ("outputs", OUTPUT_NAMES)):
        if getattr(content, name) != expected:
            raise BackendError(
                f"The {name} of {path} are {', '.join(getattr(content, name)) or 'none'}.",
                allowed=f"Allowed: {', '.join(expected)}.",
                remedy="Export the bundle again.",
            )
    return content


def read_content(path: Path) -> Content:
    """Returns the content of a package as the manifest records it; see ``read_package``."""
    content = asdict(read_package(path))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
