"""Reading a Core ML package from disk without running or changing anything in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.errors import BackendError, reason
from arbex.packages import Package
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READER = Package(module="coremltools", distribution="coremltools", purpose="running .mlpackage folders", extra="coreml")

MODEL_PATH = "@model_path/"
"""Beginning of a weight file's name in a program: the folder of the specification."""

READ_AGAIN = "Copy the bundle again, or export it again."


@dataclass
class WeightFiles:
    """Arrays in the weight files of a package.

    Attributes:
        root: Folder that the names of weight files start from.
        readers: Open files by name.
    """

    root: Path
    readers: dict[str, Any] = field(default_factory=dict)

    def read(self, name: str, offset: int, kind: str) -> NDArray[np.generic]:
        """Returns a flat array.

        Args:
            name: Name of the file as the program gives it.
            offset: Position of the array's metadata in bytes.
            kind: Type of its values as Core ML's storage names it, such as ``float`` or ``uint4``.

        Raises:
            BackendError: If the name points out of the package, or the file cannot be read.
        """
        if name not in self.readers:
            self.readers[name] = self.open(name)
        try:
            return getattr(self.readers[name], f"read_{kind}_data")(offset)  # type: ignore[no-any-return]
        except (RuntimeError, ValueError, AttributeError) as error:
            raise BackendError(
                f"The weights at byte {offset} of {name} cannot be read as {kind}: {reason(error)}.", remedy=READ_AGAIN
            ) from error

    def open(self, name: str) -> Any:
        """Returns the reader of a weight file."""
        file = (self.root / name.removeprefix(MODEL_PATH)).resolve()
        if not file.is_relative_to(self.root.resolve()) or not file.is_file():
            raise BackendError(
                f"The program reads its weights from {name!r}, which is not a file of the package.",
                allowed=f"Allowed: files below {MODEL_PATH}",
                remedy=READ_AGAIN,
            )
        with hidden_output():
            storage = READER.load("libmilstoragepython")
        return storage._BlobStorageReader(str(file))


def specification_file(package: Path) -> Path:
    """Returns the file of a package that holds its specification, as the package's list of contents names it.

    Raises:
        BackendError: If the list cannot be read, or names no file of the package.
    """
    try:
        manifest = json.loads((package / "Manifest.json").read_text())
        entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        file = (package / "Data" / str(entry["path"])).resolve()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"The Core ML package {package} cannot be read: Manifest.json: {reason(error)}.", remedy=READ_AGAIN
        ) from error
    if not file.is_relative_to(package.resolve()) or not file.is_file():
        raise BackendError(f"The Core ML package {package} does not hold its model {file.name}.", remedy=READ_AGAIN)
    return file


def read_specification(package: Path) -> tuple[Any, WeightFiles]:
    """Returns the specification of a package, a protocol buffer of type ``Model``, and its weight files.

    Raises:
        MissingPackageError: If coremltools is not installed.
        BackendError: If a file is missing or damaged, or the model is not an ML program.
    """
    with hidden_output():
        messages = READER.load("proto.Model_pb2")
    file = specification_file(package)
    specification = messages.Model()
    try:
        specification.ParseFromString(file.read_bytes())
    except Exception as error:  # the protocol buffers' own exceptions differ between their implementations
        raise BackendError(
            f"The Core ML package {package} cannot be read: {file.name}: {reason(error)}.", remedy=READ_AGAIN
        ) from error
    kind = specification.WhichOneof("Type")
    if kind != "mlProgram":
        raise BackendError(
            f"The Core ML package {package} holds a model of type {kind}.",
            allowed="Allowed: mlProgram.",
            remedy="Convert it with convert_to='mlprogram'.",
        )
    return specification, WeightFiles(file.parent)
