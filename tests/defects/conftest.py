"""A model that was trained for long enough that all of its layers matter, and its bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from arbex.checkpoint import load_run, open_run
from arbex.progress import SILENT
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from calibration import CalibrationTable
from export.channel_equalization import equalize_channels
from export.int8_calibration import CalibrationRequest, calibrate_run
from export.pipeline import export
from export.plan import ExportRequest
from export.programs import Programs
from export.trace import trace
from tests.conftest import made_once

TARGETS = {
    "cpu": ("fp32", "int8"),
    "jetson": ("fp16", "int8"),
    "android": ("int8",),
    "iphone": ("int8",),
    "executorch": ("int8",),
    "coreai": ("int8",),
}
"""Precisions of the files by target. Those for the Jetson and the iPhone compute in float16 wherever they do not in
integers."""


@pytest.fixture(scope="session")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run and its calibration table."""

    def make(out: Path) -> None:
        settings = override(PRESET_SETTINGS["tiny"], ["epochs=40", "images_per_class=21", "batch_size=21"])
        train(TrainRequest(data=str(faces), out=out / "run", preset="tiny", method="arbex", settings=settings))
        run, traced = open_run(out / "run"), equalize_channels(trace(load_run(out / "run")))
        table, _ = calibrate_run(run, traced, CalibrationRequest(source=str(faces)), SILENT)
        table.save(out / "table.json")

    return made_once(tmp_path_factory, "trained", make)


@pytest.fixture(scope="session")
def trained_bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the bundle for a target; bundles are made by whatever worker needs them first."""

    def bundle(target: str) -> Path:
        def make(out: Path) -> None:
            table, precisions = str(trained / "table.json"), TARGETS[target]
            request = ExportRequest(
                run=trained / "run", targets=[target], out=out, precisions=precisions, calibration=table
            )
            export(request)

        return made_once(tmp_path_factory, f"trained-{target}", make) / target

    return bundle


@pytest.fixture(scope="session")
def programs(trained: Path) -> Programs:
    """The programs that the bundles were written from."""
    table = CalibrationTable.load(trained / "table.json")
    return Programs(equalize_channels(trace(load_run(trained / "run"))), table.ranges)
