"""Golden vectors alone find mistakes in the INT8 files of phones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.programs import Programs
from export.registry import choose_targets
from tests.defects import coreml_defects, executorch_defects, litert_defects, stored_tensors
from tests.defects.outcomes import NOT_FOUND, outcome
from tests.defects.sealing import verified
from tests.defects.stored_tensors import DEFECTS, Stored

pytestmark = pytest.mark.lab

STORED = [
    (target, name)
    for target in ("android", "executorch", "iphone", "coreai")
    for name in DEFECTS
    if outcome(f"{target}/int8", name)
]


def stored(programs: Programs, target: str) -> Stored:
    """Returns the tensors of a target's INT8 file."""
    variant = programs.variant(choose_targets([target])[0], "int8")
    program = variant.program()
    return Stored(program, variant.with_input(program))


@pytest.mark.parametrize("target", ["android", "executorch", "iphone", "coreai"])
def test_an_intact_file_passes(trained_bundle: Callable[[str], Path], target: str, tmp_path: Path) -> None:
    row = verified(trained_bundle(target), "int8", tmp_path)
    assert row.executed
    assert row.passed, row.why


@pytest.mark.parametrize(("target", "name"), STORED)
def test_a_defect_of_a_stored_tensor_is_found(
    trained_bundle: Callable[[str], Path], programs: Programs, target: str, name: str, tmp_path: Path
) -> None:
    changes = DEFECTS[name](stored(programs, target))
    assert changes

    def spoil(artifact: Path) -> None:
        assert stored_tensors.inject(artifact, changes) == len(changes), "a tensor is not stored as expected"

    row = verified(trained_bundle(target), "int8", tmp_path, spoil)
    assert row.executed
    assert not row.passed, f"{name}: not found"


OUTPUTS = [
    *(("android", litert_defects.inject, name) for name in litert_defects.DEFECTS),
    *(("executorch", executorch_defects.inject, name) for name in executorch_defects.DEFECTS),
]


@pytest.mark.parametrize(("target", "inject", "name"), OUTPUTS)
def test_a_defect_of_the_file_is_found(
    trained_bundle: Callable[[str], Path],
    target: str,
    inject: Callable[[Path, str], bool],
    name: str,
    tmp_path: Path,
) -> None:
    def spoil(artifact: Path) -> None:
        assert inject(artifact, name)

    row = verified(trained_bundle(target), "int8", tmp_path, spoil)
    assert row.executed
    assert row.passed == (outcome(f"{target}/int8", name) == NOT_FOUND), f"{name}: {row.why or 'not found'}"


@pytest.mark.parametrize("name", coreml_defects.DEFECTS)
def test_a_defect_of_a_core_ml_package_is_found(
    trained_bundle: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    def spoil(artifact: Path) -> None:
        assert coreml_defects.inject(artifact, name)

    row = verified(trained_bundle("iphone"), "int8", tmp_path, spoil)
    assert row.executed
    assert row.passed == (outcome("iphone/int8", name) == NOT_FOUND), f"{name}: {row.why or 'not found'}"
