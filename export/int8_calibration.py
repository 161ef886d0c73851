"""Calibration for INT8 export: made now, or read from the table of an earlier one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arbex.checkpoint import Run, load_run, open_run
from arbex.data.augmentation import Normalize
from arbex.data.layouts import parse_source
from arbex.errors import DataError
from arbex.models.custom import Backbone
from arbex.packages import tool_versions
from arbex.progress import SILENT, Reporter, Step
from arbex.spec import Preprocessing
from calibration import CalibrationTable, Origin
from calibration.costs import Costs, to_costs
from calibration.observers import AUTO, CANDIDATES
from calibration.samples import DEFAULT_SAMPLES, CalibrationSet, load_samples
from calibration.table import TOOLS, merge_all
from calibration.table_files import check_place
from export.channel_equalization import equalize_channels
from export.trace import TracedModel, trace
from quantize.observer_costs import measure_observers
from quantize.program import RECALIBRATE, calibrate, graph_digest
from runtimes.base import BATCH

DEFAULT_CALIBRATOR = AUTO

COST_IMAGES = 64
"""Number of calibration images on which the costs of ranges are measured."""

COST_BATCH = 2
"""Images per batch; of each activation, the rounding errors of all candidates are held in memory."""


@dataclass(frozen=True, kw_only=True)
class CalibrationRequest:
    """How to calibrate.

    Attributes:
        source: Data set, or calibration table (``.json``); by default the run's own data.
        calibrator: Name of the observer, or ``auto``; by default the table's, or ``auto``.
        samples: Number of images over all shards.
        shard: Part ``(i, n)`` of them to use, counted from 1.
    """

    source: str | None = None
    calibrator: str | None = None
    samples: int = DEFAULT_SAMPLES
    shard: tuple[int, int] = (1, 1)

    @property
    def is_table(self) -> bool:
        """Whether the source is the table of an earlier calibration."""
        return self.source is not None and Path(self.source).is_file()


@dataclass(frozen=True)
class Calibrated:
    """Result of a calibration.

    Attributes:
        table: Ranges of all activations.
        images: The calibration images; None if the table was read from a file.
    """

    table: CalibrationTable
    images: CalibrationSet | None


def normalized(batches: Iterable[Any], preprocessing: Preprocessing) -> Iterator[Tensor]:
    """Yields uint8 batches ``[B, S, S, 3]`` as normalized float32 ``[B, 3, S, S]``."""
    normalize = Normalize(preprocessing)
    for batch in batches:
        yield normalize(torch.as_tensor(batch).permute(0, 3, 1, 2)).contiguous()


def counted(batches: Iterator[Any], step: Step) -> Iterator[Any]:
    """Yields batches and reports to ``step`` how many are done."""
    for i, batch in enumerate(batches):
        yield batch
        step(i + 1)


def origin_of(run: Run, traced: TracedModel) -> Origin:
    """Returns the origin of a calibration of this run."""
    return Origin(
        run.digest, traced.preprocessing.digest, graph_digest(traced.program, traced.equalized), tool_versions(TOOLS)
    )


def calibration_data(source: str | None, run: Run) -> str:
    """Returns the data set to calibrate on.

    Raises:
        DataError: If none was given and the run's own does not exist.
    """
    if source:
        return source
    data = run.config.data.get("path", "")
    if not data or not parse_source(data)[2].is_dir():
        raise DataError(
            f"INT8 needs calibration images, and the data that {run.path} was trained on "
            + (f"({data}) does not exist." if data else "is not recorded."),
            remedy="Give images with --calibration DATA.",
        )
    return data


def load_table(path: Path, origin: Origin, calibrator: str | None = None) -> CalibrationTable:
    """Reads a calibration table and checks that it belongs to a run.

    Args:
        path: The table's JSON file.
        origin: Origin that it must have.
        calibrator: Name of the observer whose ranges are wanted; by default the table's own.

    Raises:
        DataError: If it was made for another checkpoint, preprocessing or graph, or by other tools.
    """
    table = CalibrationTable.load(path)
    for name, wanted, found in origin.differences(table.origin):
        raise DataError(
            f"The calibration table {path} does not belong to this run ({name}: {shorten(found)} instead of "
            f"{shorten(wanted)}).",
            remedy=RECALIBRATE,
        )
    return table if calibrator in (None, table.calibrator) else table.with_calibrator(str(calibrator))


def shorten(value: str) -> str:
    """Returns the beginning of a digest, and any other value unchanged."""
    return f"{value[:12]}…" if len(value) == 64 else value


def calibrate_run(
    run: Run, traced: TracedModel, request: CalibrationRequest, report: Reporter
) -> tuple[CalibrationTable, CalibrationSet]:
    """Chooses images, runs the traced program on them, and returns its table and the images."""
    data = calibration_data(request.source, run)
    if not request.source:
        report.line(f"calibrating on the validation split of {data}, the run's own data (--calibration)")
    chosen = load_samples(data, traced.labels, traced.side, count=request.samples, shard=request.shard, report=report)
    with report.bar("calibrating", -(-len(chosen.samples) // BATCH)) as step:
        batches = counted(chosen.batches(BATCH), step)
        statistics = calibrate(traced.program, normalized(batches, traced.preprocessing))
    table = CalibrationTable.derive(statistics, origin_of(run, traced), (chosen.digest,), len(chosen.samples))
    calibrator = request.calibrator or DEFAULT_CALIBRATOR
    if calibrator == AUTO:
        table = table.with_costs(measure_costs(traced, table, chosen, report))
        report.line(f"ranges: {counts_of_observers(table)}")
        return table, chosen
    return table.with_calibrator(calibrator), chosen


def measure_costs(traced: TracedModel, table: CalibrationTable, chosen: CalibrationSet, report: Reporter) -> Costs:
    """Measures on some of the calibration images what the range of each candidate costs."""
    images = chosen.first(COST_IMAGES)
    candidates = {name: table.with_calibrator(name).ranges for name in CANDIDATES}
    with report.bar("choosing ranges", -(-len(images) // COST_BATCH)) as step:
        batches = counted((images[i : i + COST_BATCH] for i in range(0, len(images), COST_BATCH)), step)
        found = measure_observers(traced.program, candidates, normalized(batches, traced.preprocessing))
    return to_costs(found)


def counts_of_observers(table: CalibrationTable) -> str:
    """Returns how many tensors have the range of which observer, as words."""
    counts = Counter(table.observers.values())
    return ", ".join(f"{name} for {count} of {len(table.observers)} tensors" for name, count in counts.most_common())


def prepare_int8(run: Run, traced: TracedModel, request: CalibrationRequest, report: Reporter) -> Calibrated:
    """Calibrates a run, or reads the table that was given."""
    if request.is_table:
        table = load_table(Path(str(request.source)), origin_of(run, traced), request.calibrator)
        return Calibrated(table, None)
    return Calibrated(*calibrate_run(run, traced, request, report))


def write_calibration(
    run_path: Path,
    request: CalibrationRequest,
    out: Path,
    *,
    merge: Sequence[Path] = (),
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> CalibrationTable:
    """Calibrates a run and writes its table, for ``export --calibration FILE``.

    Args:
        run_path: Folder of the run.
        request: How to calibrate.
        out: JSON file to write; the histograms go next to it as ``.safetensors``.
        merge: Tables of other images or shards to add.
        backbone: Custom backbone of the run, as for ``load_run``.
        report: Receives progress.

    Raises:
        InputError: If ``out`` would overwrite anything but an earlier table.
        DataError: If a table does not belong to the run, or the images cannot be used; nothing is written then.
    """
    check_place(out)
    run = open_run(run_path)
    traced = equalize_channels(trace(load_run(run_path, backbone=backbone)))
    calibrator = request.calibrator or DEFAULT_CALIBRATOR
    earlier = [load_table(path, origin_of(run, traced), calibrator) for path in merge]
    table, _ = calibrate_run(run, traced, request, report)
    merged = merge_all([table, *earlier])
    if any(seen.channels and not merged.statistics[name].channels for name, seen in table.statistics.items()):
        report.line("warning: a merged table is of an earlier version and holds no sums: biases will not be corrected")
    merged.save(out)
    return merged
