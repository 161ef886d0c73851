"""The calibration table, as frozen data: readable JSON, and next to it the histograms as safetensors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbex.checks import check_name
from arbex.errors import DataError
from arbex.files import write_atomically
from arbex.spec import digest_json
from calibration.costs import Costs, add_costs, cheapest, read_costs
from calibration.histogram import BINS, Histogram
from calibration.observers import AUTO, CALIBRATORS, OBSERVERS, observe
from calibration.statistics import ChannelSums, TensorRange, TensorStatistics
from calibration.table_files import SUMS, check_place, counts_file

SCHEMA = 4
READABLE = (2, 3, SCHEMA)
"""Schemas that this version reads; tables of schema 2 hold no costs, and only those of schema 4 sums by channel."""

TOOLS = ("torch", "torchao")
"""Packages that shape the graph in which tensors are observed."""

REMEDY = "Make one with: arbex calibrate RUN --data DATA --out FILE."
SAME_ORIGIN = "Calibrate again with the same run, the same --calibrator and the same versions of arbex and torch."


@dataclass(frozen=True)
class Origin:
    """What a calibration belongs to; tables of another origin are refused.

    Attributes:
        checkpoint: SHA-256 of the weights.
        preprocessing: Digest of the preprocessing.
        graph: Digest of the traced program.
        tools: Versions of this toolkit and of the packages that shape the graph.
    """

    checkpoint: str
    preprocessing: str
    graph: str
    tools: Mapping[str, str]

    def differences(self, other: Origin) -> list[tuple[str, str, str]]:
        """Returns the fields that differ: name, this origin's value and the other's."""
        mine, its = asdict(self), asdict(other)
        return [(name, str(mine[name]), str(its[name])) for name in mine if mine[name] != its[name]]


@dataclass(frozen=True)
class CalibrationTable:
    """Statistics and ranges of activations, and what they belong to.

    Attributes:
        statistics: Statistics by name of the tensor in the traced program.
        ranges: Ranges that the observers derived from them.
        origin: What they belong to.
        samples: Digests of the sets of images, sorted.
        images: Number of images in all sets.
        calibrator: Name of the observer, or ``auto``.
        costs: What each candidate's range costs, of the tensors for which this was measured.
    """

    statistics: Mapping[str, TensorStatistics]
    ranges: Mapping[str, TensorRange]
    origin: Origin
    samples: tuple[str, ...]
    images: int
    calibrator: str
    costs: Costs = field(default_factory=dict)

    @classmethod
    def derive(
        cls,
        statistics: Mapping[str, TensorStatistics],
        origin: Origin,
        samples: tuple[str, ...],
        images: int,
        calibrator: str = "minmax",
        costs: Costs | None = None,
    ) -> CalibrationTable:
        """Returns a table of statistics with the ranges that an observer derives from them.

        Args:
            statistics: Statistics by name of the tensor.
            origin: What they belong to.
            samples: Digests of the sets of images.
            images: Number of images in all sets.
            calibrator: Name of the observer; ``auto`` takes, for each tensor, the candidate that costs less.
            costs: What each candidate's range costs.

        Raises:
            UnsupportedError: If there is no such observer.
            DataError: If ``auto`` is to choose, and there are no costs.
        """
        check_name("calibrator", calibrator, CALIBRATORS)
        known = dict(costs or {})
        if calibrator == AUTO and not known:
            raise DataError(
                f"The observer {AUTO!r} compares what ranges cost, which was not measured for this table.",
                allowed=f"Allowed for this table: {', '.join(OBSERVERS)}.",
                remedy=f"Calibrate again with --calibrator {AUTO}.",
            )
        ranges = {
            name: observe(cheapest(known.get(name)) if calibrator == AUTO else calibrator, seen)
            for name, seen in statistics.items()
        }
        return cls(statistics, ranges, origin, tuple(sorted(samples)), images, calibrator, known)

    def with_calibrator(self, name: str) -> CalibrationTable:
        """Returns the table with the ranges of another observer, which needs no images."""
        return self.derive(self.statistics, self.origin, self.samples, self.images, name, self.costs)

    def with_costs(self, costs: Costs) -> CalibrationTable:
        """Returns the table with the ranges that cost less."""
        return self.derive(self.statistics, self.origin, self.samples, self.images, AUTO, costs)

    @property
    def observers(self) -> dict[str, str]:
        """Name of each tensor's observer."""
        auto = self.calibrator == AUTO
        return {name: cheapest(self.costs.get(name)) if auto else self.calibrator for name in self.statistics}

    def merge(self, other: CalibrationTable) -> CalibrationTable:
        """Returns the table of both sets of images, as if they had been seen together.

        Merging is associative and commutative, to the last bit. Costs were measured for the ranges of each table, and
        add up.

        Raises:
            DataError: If the tables differ in origin, calibrator or tensors, or share images.
        """
        differences = self.origin.differences(other.origin)
        if self.calibrator != other.calibrator:
            differences.append(("calibrator", self.calibrator, other.calibrator))
        if differences:
            name, mine, its = differences[0]
            raise DataError(
                f"The calibration tables differ in {name}: {mine} and {its}; they cannot be merged.", remedy=SAME_ORIGIN
            )
        if set(self.statistics) != set(other.statistics):
            raise DataError(
                "The calibration tables belong to different graphs; they cannot be merged.", remedy=SAME_ORIGIN
            )
        shared = set(self.samples) & set(other.samples)
        if shared:
            raise DataError(
                f"Both calibration tables hold the sample set {min(shared)[:12]}…; its images would count twice.",
                remedy="Merge tables of different images, such as those of --shard 1/2 and --shard 2/2.",
            )
        merged = {name: seen.merge(other.statistics[name]) for name, seen in self.statistics.items()}
        samples = self.samples + other.samples
        costs = add_costs(self.costs, other.costs) if self.costs and other.costs else {}
        return self.derive(merged, self.origin, samples, self.images + other.images, self.calibrator, costs)

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the counts and sums, which ``counts_digest`` identifies."""
        tensors = {}
        for name, seen in self.statistics.items():
            row = {k: v for k, v in vars(seen).items() if k not in ("histogram", "images", "channels")}
            place = {"exponent": seen.histogram.exponent, "first": seen.histogram.first}
            tensors[name] = {"range": [self.ranges[name].low, self.ranges[name].high], **row, **place}
            if seen.channels:
                tensors[name]["count"] = seen.channels.count
            if name in self.costs:
                tensors[name]["costs"] = list(self.costs[name])
        return {
            "schema": SCHEMA,
            "calibrator": self.calibrator,
            "images": self.images,
            "samples": list(self.samples),
            **asdict(self.origin),
            "counts": self.counts_digest,
            "tensors": tensors,
        }

    @property
    def counts(self) -> dict[str, NDArray[np.int64]]:
        """The histograms' counts by tensor, and the sums by channel by ``TENSOR.sums``."""
        sums = {
            name + SUMS: np.array(seen.channels.sums, np.int64)
            for name, seen in self.statistics.items()
            if seen.channels
        }
        return {name: seen.histogram.counts for name, seen in self.statistics.items()} | sums

    @property
    def counts_digest(self) -> str:
        """Identifies the histograms' counts and the sums."""
        return digest_counts(self.counts)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], counts: Mapping[str, NDArray[np.int64]]) -> CalibrationTable:
        """Builds the table from what ``to_json`` returned, the counts and the sums.

        Raises:
            KeyError, TypeError, ValueError: If something is missing, damaged or does not fit.
        """
        if value["schema"] not in READABLE:
            raise ValueError(f"its schema is {value['schema']}, this version reads {' and '.join(map(str, READABLE))}")
        if value["calibrator"] not in CALIBRATORS:
            raise ValueError(f"its calibrator {value['calibrator']!r} is not known")
        if value["counts"] != digest_counts(counts):
            raise ValueError("its histograms are not those that it was written with")
        images = int(value["images"])
        tensors = value["tensors"].items()
        statistics = {name: read_statistics(name, row, images, counts) for name, row in tensors}
        ranges = {name: read_range(row["range"], statistics[name].means) for name, row in tensors}
        return cls(
            statistics,
            {name: check_range(name, r) for name, r in ranges.items()},
            Origin(value["checkpoint"], value["preprocessing"], value["graph"], dict(value["tools"])),
            tuple(value["samples"]),
            images,
            value["calibrator"],
            {name: read_costs(name, row["costs"]) for name, row in tensors if "costs" in row},
        )

    @property
    def digest(self) -> str:
        """Identifies the table's content, as 64 hexadecimal digits."""
        return digest_json(self.to_json())

    def save(self, path: str | Path) -> None:
        """Writes ``path`` as JSON and the counts next to it as ``.safetensors``.

        The JSON names the digest of the counts and is written last: a table interrupted between the two is refused
        when read.

        Raises:
            InputError: If one of the two files exists and is not that of an earlier table, or cannot be written.
        """
        from safetensors.numpy import save

        path = Path(path)
        check_place(path)
        write_atomically(counts_file(path), save(self.counts))
        write_atomically(path, json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Reads a table.

        Raises:
            DataError: If a file is missing, damaged or not a calibration table.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = Path(path)
        try:
            value = json.loads(path.read_text())
            if not isinstance(value, dict) or "tensors" not in value:
                raise ValueError("it names no tensors")
            return cls.from_json(value, load_file(counts_file(path)))
        except OSError as error:
            name = error.filename or counts_file(path)
            raise DataError(
                f"The calibration table {name} cannot be read: {error.strerror or error}.",
                remedy="Check the path; a table needs both its .json and its .safetensors file.",
            ) from error
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is not a calibration table: {error}.", remedy=REMEDY) from error


def digest_counts(counts: Mapping[str, NDArray[np.int64]]) -> str:
    """Identifies counts by tensor and value."""
    return digest_json(
        {name: hashlib.sha256(np.ascontiguousarray(v).tobytes()).hexdigest() for name, v in counts.items()}
    )


def read_range(pair: Any, means: tuple[float, ...]) -> TensorRange:
    """Builds a range from its ends in the file.

    Raises:
        TypeError, ValueError: If they are damaged.
    """
    low, high = map(float, pair)
    return TensorRange(low, high, means)


def check_range(name: str, found: TensorRange) -> TensorRange:
    """Returns a range after checking that it is finite and not empty.

    Raises:
        ValueError: If it is not.
    """
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low <= found.high):
        raise ValueError(f"the range of {name!r} is empty or not finite")
    return found


def read_statistics(
    name: str, row: Mapping[str, Any], images: int, arrays: Mapping[str, NDArray[np.int64]]
) -> TensorStatistics:
    """Builds the statistics of a tensor from its row in the file, and the counts and sums of all tensors.

    Raises:
        KeyError, ValueError: If they are damaged.
    """
    counts = arrays[name]
    seen = check_range(name, TensorRange(float(row["low"]), float(row["high"])))
    if counts.dtype != np.int64 or counts.ndim != 1 or not 0 < len(counts) <= BINS or (counts < 0).any():
        raise ValueError(f"the histogram of {name!r} is damaged")
    histogram = Histogram(int(row["exponent"]), int(row["first"]), counts)
    sums = int(row["low_sum"]), int(row["high_sum"])
    return TensorStatistics(seen.low, seen.high, *sums, images, histogram, read_channels(name, row, arrays))


def read_channels(name: str, row: Mapping[str, Any], arrays: Mapping[str, NDArray[np.int64]]) -> ChannelSums | None:
    """Builds the sums by channel of a tensor, if the file holds them.

    Raises:
        KeyError, ValueError: If they are damaged.
    """
    if "count" not in row:
        return None
    sums, count = arrays[name + SUMS], int(row["count"])
    if sums.dtype != np.int64 or sums.ndim != 1 or count < 1:
        raise ValueError(f"the sums of {name!r} are damaged")
    return ChannelSums(tuple(sums.tolist()), count)


def merge_all(tables: list[CalibrationTable]) -> CalibrationTable:
    """Merges at least one table into the table of all images.

    Raises:
        DataError: If they do not belong together.
    """
    merged = tables[0]
    for table in tables[1:]:
        merged = merged.merge(table)
    return merged
