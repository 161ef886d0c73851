"""``verify --explain`` names the layer that a defect was put into."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.explaining import THE_PRECISION, explain
from export.programs import Programs
from export.ranges_file import read_ranges
from runtimes import Prediction, open_bundle
from runtimes.bundle import Bundle
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.registry import FORMATS
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
    assert explain(opened, opened.find("int8"), programs) == THE_PRECISION


class WrongKernels(OnnxRuntime):
    """Computes single operators rightly, and several at once wrongly."""

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Mixes a hundredth of the uniform distribution into the answers."""
        found = super().run_batch(images)
        corrected, primary = ((0.99 * part + 0.01 / part.shape[1]).astype(np.float32) for part in found[:2])
        return Prediction(corrected, primary, found.confidence)


def test_wrong_kernels_are_blamed_where_all_operators_are_right(
    trained_bundle: Callable[[str], Path], programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_bundle(trained_bundle("cpu"))
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], runtime=WrongKernels))
    found = explain(opened, opened.find("int8"), programs)
    assert isinstance(found, str)
    assert "a kernel of the runtime is wrong on this processor" in found


def named(bundle: Path, target: str, name: str, programs: Programs, folder: Path) -> bool:
    """Tells whether the layer of a defect is named."""
    changes = stored_tensors.DEFECTS[name](stored(programs, target))

    def spoil(artifact: Path) -> None:
        assert stored_tensors.inject(artifact, changes)

    opened = spoiled(bundle, folder, spoil)
    found = explain(opened, opened.find("int8"), programs)
    place = "" if isinstance(found, str) else found.module
    modules = {change.module for change in changes}
    print(f"{target}: {name}: {place or 'nothing'}; put into {', '.join(sorted(modules))}")
    return not isinstance(found, str) and any(belongs(place, module) for module in modules)


def belongs(module: str, other: str) -> bool:
    """Tells whether two modules are the same, or one is a part of the other."""
    longer, shorter = sorted((module, other), key=len, reverse=True)
    return longer == shorter or bool(shorter) and longer.startswith(f"{shorter}.")
