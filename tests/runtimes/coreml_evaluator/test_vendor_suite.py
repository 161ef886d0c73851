"""The evaluator passes the tests with which coremltools' authors check Core ML itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

CASES = 4
"""Number of cases per test function; some have thousands."""


@pytest.mark.lab
def test_the_tests_of_coremltools_pass(tmp_path: Path) -> None:
    spec = find_spec("coremltools")
    assert spec is not None
    assert spec.origin is not None
    suite = Path(spec.origin).parent / "converters/mil/mil/ops/tests"
    counts = tmp_path / "counts.json"
    options = ["-p", "tests.runtimes.coreml_evaluator.vendor_plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    options += ["-q", "-W", "ignore", "-c", os.devnull, f"--rootdir={suite}", "--import-mode=importlib"]
    environment = os.environ | {"ARBEX_VENDOR_CASES": str(CASES), "ARBEX_VENDOR_COUNTS": str(counts)}
    command = [sys.executable, "-m", "pytest", *options, str(suite)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    found = json.loads(counts.read_text())
    passed = re.search(r"(\d+) passed", done.stdout)
    print(f"{passed and passed[0]}; {found['predictions']} predictions of {len(found['operations'])} operations")
    assert found["predictions"] > 500
    assert len(found["operations"]) > 90
