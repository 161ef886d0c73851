"""What calibration found out, as frozen data that round-trips through JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arbex.errors import DataError
from arbex.files import write_atomically
from arbex.spec import digest_json

SCHEMA = 1


@dataclass(frozen=True)
class TensorRange:
    """Smallest and largest value that a tensor took."""

    low: float
    high: float

    def merge(self, other: TensorRange) -> TensorRange:
        """Returns the range that covers both."""
        return TensorRange(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges of activations, and what they belong to.

    Attributes:
        ranges: By name of the tensor in the traced program.
        checkpoint: sha-256 of the weights.
        preprocessing: Digest of the preprocessing.
        samples: Digests of the sets of images that were seen.
        images: How many images that were.
        calibrator: Name of the observer.
    """

    ranges: Mapping[str, TensorRange]
    checkpoint: str
    preprocessing: str
    samples: tuple[str, ...]
    images: int
    calibrator: str = "minmax"

    def merge(self, other: CalibrationTable) -> CalibrationTable:
        """Returns the table of both sets of images, as if they had been seen together.

        Raises:
            DataError: If the tables belong to different checkpoints, preprocessing, graphs or calibrators.
        """
        for name in ("checkpoint", "preprocessing", "calibrator"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                raise DataError(f"The calibration tables differ in {name}: {mine} and {its}; they cannot be merged.")
        if set(self.ranges) != set(other.ranges):
            raise DataError("The calibration tables belong to different graphs; they cannot be merged.")
        return CalibrationTable(
            {name: value.merge(other.ranges[name]) for name, value in self.ranges.items()},
            self.checkpoint,
            self.preprocessing,
            tuple(sorted(self.samples + other.samples)),
            self.images + other.images,
            self.calibrator,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CalibrationTable:
        """Builds the value from what ``to_json`` returned."""
        ranges = {name: TensorRange(r["low"], r["high"]) for name, r in value["ranges"].items()}
        bad = [n for n, r in ranges.items() if not (math.isfinite(r.low) and math.isfinite(r.high) and r.low <= r.high)]
        if bad:
            raise ValueError(f"the range of {bad[0]!r} is not finite or empty")
        return cls(
            ranges,
            value["checkpoint"],
            value["preprocessing"],
            tuple(value["samples"]),
            int(value["images"]),
            value["calibrator"],
        )

    @property
    def digest(self) -> str:
        """Identifies the table's content, as 64 hexadecimal digits."""
        return digest_json(self.to_json())

    def save(self, path: str | Path) -> None:
        """Writes the table as JSON, in one step."""
        write_atomically(Path(path), json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Reads a table.

        Raises:
            DataError: If the file is missing or no calibration table.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text()))
        except OSError as error:
            raise DataError(f"The calibration table {path} cannot be read: {error.strerror}.") from error
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path} is no calibration table: {error}.",
                remedy="Make one with: arbex calibrate RUN --data DATA --out FILE.",
            ) from error
