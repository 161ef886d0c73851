"""Small real things that many tests share: faces, a trained run, its bundles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core a worker: threads of two would wait for each other

from arbex.synth import SynthConfig, write_dataset


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set: 210 faces of 10 people at 64 px."""
    out = tmp_path_factory.mktemp("data") / "faces"
    write_dataset(SynthConfig(images=210, subjects=10, seed=3, image_size=64), out, workers=1)
    return out


@pytest.fixture(scope="session")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of preset tiny, trained for one short epoch on those faces."""
    from arbex.settings import PRESET_SETTINGS, override
    from arbex.training.configuration import TrainRequest
    from arbex.training.loop import train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    settings = override(PRESET_SETTINGS["tiny"], ["epochs=1", "images_per_class=16", "batch_size=16"])
    train(TrainRequest(data=str(faces), out=out, preset="tiny", method="arbex", settings=settings))
    return out


@pytest.fixture(scope="session")
def bundles(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of that run for all targets, in float32 and INT8."""
    from export.pipeline import export
    from export.plan import ExportRequest

    out = tmp_path_factory.mktemp("bundles")
    export(ExportRequest(run=run, targets=["all"], out=out, precisions=("fp32", "int8"), samples=32))
    return out
