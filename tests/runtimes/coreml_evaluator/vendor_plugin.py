"""A pytest plugin that runs coremltools' own tests of MIL operations with the evaluator in the place of Core ML.

coremltools ships its tests. Each builds a program, states what Core ML computes for it, and compares the two on macOS
alone; elsewhere it stops after the conversion. With this plugin the evaluator computes.

The environment variable ``ARBEX_VENDOR_CASES`` is the number of cases that are drawn per test function.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

os.environ["PYMIL_TEST_TARGETS"] = "mlprogram"
os.environ["INCLUDE_MIL_FP32_UNIT_TESTS"] = "1"

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import testing_utils
from coremltools.models import utils

from arbex.errors import BackendError, UnsupportedError
from runtimes.coreml_evaluator.program import Program

ATOL, RTOL = 2e-3, 1e-3
"""Smallest tolerances. The expected values of many tests are rounded to float16, or to three decimals."""

LEFT_OUT = {
    "iOS15/test_image_resizing.py::TestCropResize::test_builder_to_backend_smoke": "a box outside of the image",
    "iOS17/test_scatter_gather.py::TestScatter::test_ios17_invalid_indices": "indices outside of the axis",
    "iOS15/test_image_resizing.py::TestResample::test_builder_to_backend_smoke": "counts casts that float32 has not",
    "TestNormalizationLocalResponseNorm::test_builder_to_backend_smoke": "no channel has neighbors, other than in the "
    "same class's stress test",
}
"""Test functions that state what Core ML leaves undefined, or what other tests contradict."""

ran: Counter[str] = Counter()
operations: set[str] = set()


def program_of(model: Any) -> Program:
    """Returns the evaluator's program of a model; the test is skipped if it has an operation that is not covered."""
    known: Program | None = model.__dict__.get("evaluated")
    if known is None:
        path = model.package_path
        if path is None:
            path = Path(tempfile.mkdtemp()) / "model.mlpackage"
            model.save(str(path))
        if model.get_spec().WhichOneof("Type") != "mlProgram":
            pytest.skip("not an ML program")
        try:
            known = Program.load(Path(path), "fp32")
        except UnsupportedError as error:
            pytest.skip(str(error))
        model.evaluated = known
    return known


def predict(model: Any, inputs: dict[str, Any], state: Any = None) -> dict[str, Any]:
    """Stands in for ``MLModel.predict``. Core ML's outputs have at least one dimension, and none is boolean."""
    program = program_of(model)
    ran["predictions"] += 1
    operations.update(step.operation.name for step in program.block.steps)
    try:
        outputs = program.run({name: np.asarray(value) for name, value in inputs.items()})
    except BackendError as error:
        raise RuntimeError(f"Unable to compute the prediction using ML Program: {error}") from error
    return {name: np.atleast_1d(value) if isinstance(value, np.ndarray) else value for name, value in outputs.items()}


def run_core_ml_predict(model: Any, inputs: dict[str, Any], state: Any = None) -> dict[str, Any]:
    """Stands in for the function of coremltools that turns every input into float32, integers of all widths too."""
    return predict(model, {name: np.atleast_1d(np.asarray(v, dtype=np.float32)) for name, v in inputs.items()})


compare_backend = testing_utils.compare_backend


def compare(*arguments: Any, atol: float = ATOL, rtol: float = RTOL, **others: Any) -> None:
    """Compares as coremltools does, with the smallest tolerances above."""
    compare_backend(*arguments, atol=max(atol, ATOL), rtol=max(rtol, RTOL), **others)


testing_utils._IS_MACOS = True
testing_utils.run_core_ml_predict = run_core_ml_predict
testing_utils.compare_backend = compare
utils._is_macos = lambda: True
utils._macos_version = lambda: (15, 0)
ct.models.MLModel.predict = predict
ct.models.MLModel.make_state = program_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Draws cases in float32 from every test function."""
    count = int(os.environ["ARBEX_VENDOR_CASES"])
    by_function: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        function = item.nodeid.split("[")[0]
        if not function.endswith(tuple(LEFT_OUT)) and "precision='fp16'" not in item.nodeid:
            by_function[function].append(item)
    draw = random.Random(0)
    items[:] = [item for cases in by_function.values() for item in draw.sample(cases, min(count, len(cases)))]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes what ran."""
    found = {**ran, "operations": sorted(operations)}
    Path(os.environ["ARBEX_VENDOR_COUNTS"]).write_text(json.dumps(found), encoding="utf-8")
