"""Reading weights files from untrusted sources without running their code, though a torch file is a pickle.

``torch.load(weights_only=True)`` builds tensors and containers, and looks every other name up in a table instead of
importing it. Training scripts store objects of their own with the weights; the table maps their names to
:class:`Inert`. Any other name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from arbex.errors import RunError

SCRIPT_MODULES = ("__main__", "main", "main_8")
"""Modules of training scripts, whose classes are read as :class:`Inert`: POSTER++ pickles its log of accuracies."""

STAND_INS = (
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)
"""Names that may occur along with weights, and are read as :class:`Inert` since their values are not needed."""

MOST_NAMES = 32
"""Largest number of names that are read as :class:`Inert`."""

NESTED = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts store the weights."""


class Inert:
    """Stands for a pickled object, whose content it ignores."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        """Ignores the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Ignores the arguments."""

    def __setstate__(self, _: object) -> None:
        """Ignores the state."""


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file.

    Attributes:
        path: Path of the file.
        tensors: Weights by name, on the CPU; the names lack the prefix ``module.`` of data-parallel training.
        epoch: Number of finished epochs, or None if the file does not hold it.
    """

    path: Path
    tensors: dict[str, Tensor]
    epoch: int | None


def read_weights_file(path: Path) -> WeightsFile:
    """Reads a torch file (of any age) or a safetensors file.

    Raises:
        RunError: If the file is missing or damaged, holds no weights, or could only be read by running its code.
    """
    if not path.is_file():
        raise RunError(f"The weights file {path} does not exist.", remedy="Check the path.")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    content = load_without_code(path)
    if isinstance(content, Mapping) and {"state", "param_groups"} <= set(content):
        raise RunError(
            f"{path} holds the state of an optimizer, but no weights.",
            remedy="POSTER++ saves it as model_best.pth; the weights are in the file without 'best' in its name.",
        )
    epoch = content.get("epoch", content.get("iter")) if isinstance(content, Mapping) else None  # iter: POSTER
    tensors = find_tensors(path, content)
    return WeightsFile(path, tensors, epoch if isinstance(epoch, int) and epoch > 0 else None)


def load_without_code(path: Path) -> Any:
    """Unpickles a torch file; objects other than tensors and containers become :class:`Inert`.

    Raises:
        RunError: If the file is damaged, or names anything else.
    """
    names = list(STAND_INS)
    while True:
        try:
            with torch.serialization.safe_globals([(Inert, name) for name in names]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            name = foreign_name(error)
            if name and name.rpartition(".")[0] in SCRIPT_MODULES and name not in names and len(names) < MOST_NAMES:
                names.append(name)
                continue
            raise refusal(path, name, error) from error
        except Exception as error:  # a hostile file may raise anything
            raise refusal(path, None, error) from error


def foreign_name(error: UnpicklingError) -> str | None:
    """Returns the name that the unpickler refused, or None if the error has another reason."""
    found = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
    return found[1] if found else None


def refusal(path: Path, name: str | None, error: Exception) -> RunError:
    """Returns the error for a file that cannot be read as weights."""
    if name:
        return RunError(
            f"{path} is refused: it holds {name}, which only running code in the file could build.",
            allowed="Allowed: tensors, containers, NumPy values and classes of a training script.",
            remedy="If you trust it, save the weights alone where it was made: torch.save(model.state_dict(), …).",
        )
    # The message of torch itself is not shown: it advises to read the file in a way that runs its code.
    return RunError(
        f"{path} cannot be read as a torch file ({type(error).__name__}).",
        allowed="Allowed: a file of torch.save, or .safetensors.",
        remedy="Download or copy it again.",
    )


def find_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    """Returns the weights in the content of a torch file.

    Raises:
        RunError: If there are none.
    """
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name).removeprefix("module."): value.detach() for name, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise RunError(
            f"{path} holds no weights, but an object of type {type(content).__name__}.",
            allowed=f"Allowed: tensors by name, at the top or under one of the keys {', '.join(NESTED)}.",
            remedy="Save the weights again with: torch.save(model.state_dict(), …).",
        )
    return tensors


def read_safetensors(path: Path) -> WeightsFile:
    """Reads a safetensors file, whose metadata may hold the epoch.

    Raises:
        RunError: If it is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as stream:
            tensors = {name.removeprefix("module."): stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged: {error}.", remedy="Download or copy it again.") from error
    epoch = int(metadata["epoch"]) if metadata.get("epoch", "").isdecimal() else 0
    return WeightsFile(path, tensors, epoch or None)
