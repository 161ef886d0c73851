"""``ranges.json`` of a bundle: ranges and means of activations from which its INT8 program can be made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from arbex.errors import BundleError
from calibration import TensorRange

NAME: Final = "ranges.json"


def write_ranges(folder: Path, ranges: Mapping[str, TensorRange]) -> None:
    """Writes the ranges of a bundle, a line per node: the smallest and the largest value, and the channels' means."""
    rows = (f"{json.dumps(name)}: {json.dumps([r.low, r.high, *r.means])}" for name, r in ranges.items())
    (folder / NAME).write_text("{\n " + ",\n ".join(rows) + "\n}\n", encoding="utf-8")


def read_ranges(folder: Path) -> dict[str, TensorRange]:
    """Reads the ranges of a bundle.

    Raises:
        BundleError: If there are none, or the file is damaged.
    """
    file = folder / NAME
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(name): TensorRange(float(low), float(high), tuple(map(float, means)))
            for name, (low, high, *means) in rows.items()
        }
    except FileNotFoundError:
        raise BundleError(
            f"{folder} holds no {NAME}, without which its INT8 program cannot be made again.",
            remedy="Export the bundle again with this version of arbex.",
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{file} is damaged: {error}.", remedy="Copy the bundle again.") from error
