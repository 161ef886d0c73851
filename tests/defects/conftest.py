"""The model that receives defects, and its bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.programs import Programs
from tests.conftest import made_once
from tests.defects.model import export_for, programs_of, train_until_all_matters


@pytest.fixture(scope="session")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run and its calibration table."""
    return made_once(tmp_path_factory, "trained", lambda out: train_until_all_matters(faces, out))


@pytest.fixture(scope="session")
def trained_bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the bundle for a target; bundles are made by whatever worker needs them first."""

    def bundle(target: str) -> Path:
        made = made_once(tmp_path_factory, f"trained-{target}", lambda out: export_for(target, trained, out))
        return made / target

    return bundle


@pytest.fixture(scope="session")
def programs(trained: Path) -> Programs:
    """The programs that the bundles were written from."""
    return programs_of(trained)
