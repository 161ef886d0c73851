"""Fixtures that many tests share: faces, a trained run, its bundles. All workers share one of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core per worker: the threads of two workers would compete

from arbex.synth import SynthConfig, write_dataset

EXPENSIVE = ("bundles", "executorch_bundle", "coreai_bundle")
"""Fixtures that export for minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests of exported bundles slow, and puts them last in the half of each worker.

    One of them comes first: while its worker exports the bundles, the other one runs tests that do without.
    """
    users = [item for item in items if set(EXPENSIVE) & set(getattr(item, "fixturenames", ()))]
    for item in users:
        item.add_marker(pytest.mark.slow)
    others = [item for item in items if item not in set(users)]
    half, rest = len(others) // 2, users[1:]
    items[:] = [*users[:1], *others[:half], *rest[: len(rest) // 2], *others[half:], *rest[len(rest) // 2 :]]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Returns a path that is made by the first worker that asks for it, while the others wait.

    Args:
        factory: Factory of the session; the folders of all workers have the same parent.
        name: Name of the path.
        make: Makes it. If that fails, the next worker that asks tries again.
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
    """A run of preset tiny on those faces, trained until its answers differ by more than INT8 rounds them.

    Its precision is the same on all machines, so that its weights nearly are.
    """

    def train_it(out: Path) -> None:
        from arbex.settings import PRESET_SETTINGS, override
        from arbex.training.configuration import TrainRequest
        from arbex.training.loop import train

        settings = override(
            PRESET_SETTINGS["tiny"], ["epochs=6", "images_per_class=48", "batch_size=16", "precision=32-true"]
        )
        train(TrainRequest(data=str(faces), out=out, preset="tiny", method="arbex", settings=settings))

    return made_once(tmp_path_factory, "run", train_it)


@pytest.fixture(scope="session")
def bundles(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of that run for all targets, in float32 and INT8. A test that changes one works on a copy."""

    def export_them(out: Path) -> None:
        from export.pipeline import export
        from export.plan import ExportRequest

        export(ExportRequest(run=run, targets=["all"], out=out, precisions=("fp32", "int8"), samples=32))

    return made_once(tmp_path_factory, "bundles", export_them)


def exported(run: Path, target: str, factory: pytest.TempPathFactory) -> Path:
    """Returns the bundle of a run for one target with that target's usual precisions."""

    def export_it(out: Path) -> None:
        from export.pipeline import export
        from export.plan import ExportRequest

        export(ExportRequest(run=run, targets=[target], out=out, samples=32))

    return made_once(factory, f"{target}-bundles", export_it) / target


@pytest.fixture(scope="session")
def executorch_bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that run for ExecuTorch, in float32 and INT8."""
    return exported(run, "executorch", tmp_path_factory)


@pytest.fixture(scope="session")
def coreai_bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that run for Core AI, in float32 and INT8."""
    return exported(run, "coreai", tmp_path_factory)
