"""The benchmark of drawing runs and prints its figure."""

from __future__ import annotations

import pytest

from benchmarks.edge import drawing


@pytest.mark.slow
def test_the_drawing_benchmark_prints_its_figure(capsys: pytest.CaptureFixture[str]) -> None:
    speed = drawing(images=210, runs=1)
    assert capsys.readouterr().out == f"drawing: {speed:.0f} images/s on one core, PNG files included\n"
    assert speed > 20
