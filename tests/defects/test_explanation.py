"""``verify --explain`` names the layer that a defect was put into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from export.explaining import explain
from export.programs import Programs
from export.ranges_file import read_ranges
from runtimes import open_bundle
from runtimes.bundle import Bundle
from tests.defects import stored_tensors
from tests.defects.outcomes import outcome
from tests.defects.test_other_formats import stored

pytestmark = pytest.mark.lab

SMALLEST = 0.9
"""Smallest share of defects whose layer is named."""


def spoiled(bundle: Path, folder: Path, spoil: Callable[[Path], object]) -> Bundle:
    """Returns a bundle with a defect in its INT8 file; nothing but opening it checks its manifest."""
    intact = open_bundle(bundle)
    copy = Path(shutil.copytree(bundle, folder / bundle.name))
    spoil(copy / intact.find("int8").file)
    return Bundle(copy, intact.manifest)


def test_the_layers_of_defects_are_named(
    trained_bundle: Callable[[str], Path], programs: Programs, tmp_path: Path
) -> None:
    outcomes = [
        named(trained_bundle(target), target, name, programs, tmp_path / target / name)
        for target in ("cpu", "android", "iphone")
        for name in stored_tensors.DEFECTS
        if target == "cpu" or outcome(f"{target}/int8", name)
    ]
    assert len(outcomes) > 30
    assert sum(outcomes) / len(outcomes) >= SMALLEST, f"{sum(outcomes)} of {len(outcomes)}"


@pytest.mark.parametrize("target", ["cpu", "android", "iphone"])
def test_an_intact_file_has_no_difference(
    trained_bundle: Callable[[str], Path], programs: Programs, target: str
) -> None:
    opened = open_bundle(trained_bundle(target))
    assert read_ranges(opened.path) == programs.ranges
    assert explain(opened, opened.find("int8"), programs) is None


def named(bundle: Path, target: str, name: str, programs: Programs, folder: Path) -> bool:
    """Tells whether the layer of a defect is named."""
    changes = stored_tensors.DEFECTS[name](stored(programs, target))

    def spoil(artifact: Path) -> None:
        assert stored_tensors.inject(artifact, changes)

    opened = spoiled(bundle, folder, spoil)
    found = explain(opened, opened.find("int8"), programs)
    modules = {change.module for change in changes}
    print(f"{target}: {name}: {found.module if found else 'nothing'}; put into {', '.join(sorted(modules))}")
    return found is not None and any(belongs(found.module, module) for module in modules)


def belongs(module: str, other: str) -> bool:
    """Tells whether two modules are the same, or one is a part of the other."""
    longer, shorter = sorted((module, other), key=len, reverse=True)
    return longer == shorter or bool(shorter) and longer.startswith(f"{shorter}.")
