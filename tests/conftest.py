"""Small real things that many tests share: faces, a trained run, its bundles. All workers share one of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per worker: threads of two would wait for each other

from arbex.synth import SynthConfig, write_dataset


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Returns a path that the first worker that asks for it has made; the others wait for it.

    Args:
        factory: Of the session; its folders of all workers lie in one.
        name: Of the path.
        make: Makes it. Where that fails, the next one that asks tries again.
    """
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    done = shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            make(shared / name)
            done.touch()
    return shared / name


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set: 210 faces of 10 people at 64 px."""

    def draw(out: Path) -> None:
        write_dataset(SynthConfig(images=210, subjects=10, seed=3, image_size=64), out, workers=1)

    return made_once(tmp_path_factory, "faces", draw)


@pytest.fixture(scope="session")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of preset tiny, trained for one short epoch on those faces."""

    def train_it(out: Path) -> None:
        from arbex.settings import PRESET_SETTINGS, override
        from arbex.training.configuration import TrainRequest
        from arbex.training.loop import train

        settings = override(PRESET_SETTINGS["tiny"], ["epochs=1", "images_per_class=16", "batch_size=16"])
        train(TrainRequest(data=str(faces), out=out, preset="tiny", method="arbex", settings=settings))

    return made_once(tmp_path_factory, "run", train_it)


@pytest.fixture(scope="session")
def bundles(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of that run for all targets, in float32 and INT8. Whoever changes one works on a copy."""

    def export_them(out: Path) -> None:
        from export.pipeline import export
        from export.plan import ExportRequest

        export(ExportRequest(run=run, targets=["all"], out=out, precisions=("fp32", "int8"), samples=32))

    return made_once(tmp_path_factory, "bundles", export_them)
