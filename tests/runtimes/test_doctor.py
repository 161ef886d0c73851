"""``arbex doctor`` imports what is installed, not what lies in the working folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtimes.planting import executed, plant

ARBEX = Path(sys.executable).parent / "arbex"


@pytest.mark.slow
def test_nothing_of_the_working_folder_runs(tmp_path: Path) -> None:
    plant(tmp_path, "json", "numpy", "onnxruntime", "cv2")
    done = subprocess.run([ARBEX, "doctor", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["package"]: row for row in json.loads(done.stdout)["backends"]}
    assert rows["onnxruntime"]["works"] is True
    assert executed(tmp_path) == []
