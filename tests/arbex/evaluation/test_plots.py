"""Plots of an evaluation, as files and through the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arbex.cli import invoke
from arbex.evaluation.metrics import Answers, judge
from arbex.evaluation.plots import RELIABILITY, RISK, reliability_diagram, risk_coverage_curve, write_plots


def some_answers(n: int = 300) -> dict[str, Answers]:
    """Answers of two distributions to the same images, the second too certain."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(n, 4))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in p])
    sharp = p**3 / (p**3).sum(-1, keepdims=True)
    return {"corrected": judge(p, p.max(-1), labels), "primary": judge(sharp, sharp.max(-1), labels)}


def test_the_reliability_diagram_shows_the_accuracy_of_each_bin() -> None:
    answers = some_answers()
    figure = reliability_diagram(answers)
    upper = figure.axes[0]
    each = answers["corrected"]
    last = each.right[each.top >= 14 / 15].mean()
    heights = {round(bar.get_x(), 4): bar.get_height() for bar in upper.containers[0]}
    assert heights[round(14 / 15, 4)] == pytest.approx(last)
    assert upper.get_title().startswith("corrected: ECE 0.")
    assert float(upper.get_title().split()[-1]) < float(figure.axes[1].get_title().split()[-1])


def test_the_risk_of_all_answers_is_the_error() -> None:
    answers = some_answers()
    axes = risk_coverage_curve(answers).axes[0]
    for line, each in zip(axes.get_lines(), answers.values(), strict=True):
        coverage, risk = (np.asarray(values) for values in line.get_data())
        assert risk[-1] == pytest.approx(100 * (1 - each.right.mean()))
        assert coverage[-1] == 100


def test_plots_are_pictures_in_a_folder_that_is_made(tmp_path: Path) -> None:
    files = write_plots(tmp_path / "new" / "plots", some_answers())
    assert [file.name for file in files] == [RELIABILITY, RISK]
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) > 400


def test_evaluate_draws_and_says_where(
    run: Path, faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(run), "--data", str(faces), "--plots", str(tmp_path / "plots"), "--json"]
    assert invoke(command, "arbex") == 0
    shown = capfd.readouterr()
    found = json.loads(shown.out)
    assert set(found["ci95"]) >= {"accuracy", "ece", "nll", "aurc"}
    low, high = found["ci95"]["accuracy"]
    assert low < found["accuracy"] < high
    for name in (RELIABILITY, RISK):
        assert f"plot: {tmp_path / 'plots' / name}" in shown.err
        assert (tmp_path / "plots" / name).is_file()


def test_a_file_in_place_of_the_folder_is_refused(run: Path, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("mine")
    assert invoke(["evaluate", str(run), "--data", str(faces), "--plots", str(tmp_path / "plots")], "arbex") == 2
    assert (tmp_path / "plots").read_text() == "mine"
