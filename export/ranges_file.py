"""``ranges.json`` of a bundle: the ranges of activations from which its INT8 program can be made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from arbex.errors import BundleError
from calibration import TensorRange

NAME: Final = "ranges.json"


def write_ranges(folder: Path, ranges: Mapping[str, TensorRange]) -> None:
    """Writes the ranges of a bundle, by name of the node, as pairs of the smallest and the largest value."""
    pairs = {name: [found.low, found.high] for name, found in ranges.items()}
    (folder / NAME).write_text(json.dumps(pairs, indent=1) + "\n", encoding="utf-8")


def read_ranges(folder: Path) -> dict[str, TensorRange]:
    """Reads the ranges of a bundle.

    Raises:
        BundleError: If there are none, or the file is damaged.
    """
    file = folder / NAME
    try:
        pairs = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): TensorRange(float(low), float(high)) for name, (low, high) in pairs.items()}
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {NAME}, without which its INT8 program cannot be made again.",
            remedy="Export the bundle again with this version of arbex.",
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{file} is damaged: {error}.", remedy="Copy the bundle again.") from error
