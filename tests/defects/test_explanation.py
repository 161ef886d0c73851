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


@pytest.mark.parametrize("target", ["cpu", "android", "iphone"])
def test_the_layer_of_a_defect_is_named(
    trained_bundle: Callable[[str], Path], programs: Programs, target: str, tmp_path: Path
) -> None:
    bundle = trained_bundle(target)
    assert read_ranges(bundle) == programs.ranges
    assert explain(open_bundle(bundle), open_bundle(bundle).find("int8"), programs) is None
    named, total = 0, 0
    for name, defect in stored_tensors.DEFECTS.items():
        changes = defect(stored(programs, target))

        def spoil(artifact: Path, changes: list[stored_tensors.Change] = changes) -> None:
            assert stored_tensors.inject(artifact, changes)

        if target == "android" and not outcome("android/int8", name):
            continue
        opened = spoiled(bundle, tmp_path / name, spoil)
        found = explain(opened, opened.find("int8"), programs)
        modules = {change.module for change in changes}
        right = found is not None and any(belongs(found.module, module) for module in modules)
        named, total = named + right, total + 1
        print(f"{target}: {name}: {found.module if found else 'nothing'}; put into {', '.join(sorted(modules))}")
    assert named / total >= SMALLEST, f"{named} of {total}"


def belongs(module: str, other: str) -> bool:
    """Tells whether two modules are the same, or one is a part of the other."""
    longer, shorter = sorted((module, other), key=len, reverse=True)
    return longer == shorter or bool(shorter) and longer.startswith(f"{shorter}.")
