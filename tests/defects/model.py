"""A model that was trained for long enough that all of its layers matter, its bundles and its programs."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from unittest.mock import patch

from arbex.checkpoint import load_run, open_run
from arbex.methods.reliability import ReliabilityOptions
from arbex.models import PRESETS
from arbex.progress import SILENT
from arbex.settings import TrainSettings
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from calibration import CalibrationTable
from export.channel_equalization import equalize_channels
from export.int8_calibration import CalibrationRequest, calibrate_run
from export.pipeline import export
from export.plan import ExportRequest
from export.programs import Programs
from export.trace import trace
from tests.programs import SMALL_POSTER

TARGETS: Final = {
    "cpu": ("fp32", "int8"),
    "jetson": ("fp16", "int8"),
    "android": ("int8",),
    "iphone": ("int8",),
    "executorch": ("int8",),
    "coreai": ("int8",),
}
"""Precisions of the files by target. Those for the Jetson and the iPhone compute in float16 wherever they do not in
integers."""

RUN, TABLE = "run", "table.json"


SETTINGS: Final = TrainSettings(
    epochs=40,
    images_per_class=21,
    batch_size=21,
    learning_rate=2e-3,
    schedule="cosine",
    weight_decay=0.01,
    lambda_parts=0.5,
    lambda_tokens=1.0,
    encoder_gradient="anchors",
    dropout=0.1,
    calibrate=False,
)
"""What POSTER++ in small needs in order to learn from random weights. Without temperatures, it is the model that
docs/verification.md is about."""


def train_until_all_matters(faces: Path, out: Path) -> None:
    """Writes the run and its calibration table into a folder.

    The encoder is POSTER++ in small, which has more kinds of operators than the small presets, and the head is the
    paper's.
    """
    request = TrainRequest(
        data=str(faces),
        out=out / RUN,
        preset="tiny",
        method="arbex",
        settings=SETTINGS,
        method_options=ReliabilityOptions(),
    )
    with patch.dict(PRESETS, tiny=SMALL_POSTER):
        train(request)
    run, traced = open_run(out / RUN), equalize_channels(trace(load_run(out / RUN)))
    table, _ = calibrate_run(run, traced, CalibrationRequest(source=str(faces)), SILENT)
    table.save(out / TABLE)


def export_for(target: str, trained: Path, out: Path) -> None:
    """Writes the bundle of the run in a folder for a target."""
    request = ExportRequest(
        run=trained / RUN,
        targets=[target],
        out=out,
        precisions=TARGETS[target],
        calibration=str(trained / TABLE),
    )
    export(request)


def programs_of(trained: Path) -> Programs:
    """Returns the programs that the bundles were written from."""
    table = CalibrationTable.load(trained / TABLE)
    return Programs(equalize_channels(trace(load_run(trained / RUN))), table.ranges)
