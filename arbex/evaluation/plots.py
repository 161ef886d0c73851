"""Plots of an evaluation: the reliability diagram and the risk-coverage curve, drawn without a screen."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from arbex.evaluation.metrics import Answers, by_confidence, measure, risk_and_coverage
from arbex.files import write_atomically
from arbex.spec import ECE_BINS

RELIABILITY, RISK = "reliability.png", "risk-coverage.png"
"""Names of the files."""

DPI: Final = 110


def write_plots(folder: Path, answers: Mapping[str, Answers]) -> list[Path]:
    """Draws both plots for several distributions, such as ``corrected`` and ``primary``.

    Args:
        folder: Folder of the files, which is made if it does not exist.
        answers: Answers by the name of the distribution.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {RELIABILITY: reliability_diagram(answers), RISK: risk_coverage_curve(answers)}
    for name, figure in figures.items():
        drawn = BytesIO()
        figure.savefig(drawn, dpi=DPI, format="png")
        write_atomically(folder / name, drawn.getvalue())
    return [folder / name for name in figures]


def reliability_diagram(answers: Mapping[str, Answers]) -> Figure:
    """Returns accuracy over probability, and below it how many answers have that probability."""
    figure = Figure(figsize=(5.0 * len(answers), 6.0), layout="constrained")
    rows = figure.subplots(2, len(answers), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    edges = np.linspace(0, 1, ECE_BINS + 1)
    for (upper, lower), (name, each) in zip(rows.T, answers.items(), strict=True):
        bins = np.clip((each.top * ECE_BINS).astype(int), 0, ECE_BINS - 1)
        count = np.bincount(bins, minlength=ECE_BINS)
        there = count > 0
        sums = (np.bincount(bins, values, ECE_BINS)[there] for values in (each.right, each.top))
        accuracy, probability = (total / count[there] for total in sums)
        draw_bins(upper, edges[:-1][there], accuracy, probability)
        upper.set_title(f"{name}: ECE {measure(each)['ece']:.3f}")
        lower.bar(edges[:-1], count, 1 / ECE_BINS, align="edge", color="tab:gray", edgecolor="white")
        lower.set_xlabel("probability of the answer")
    rows[0, 0].set_ylabel("share of right answers")
    rows[0, 0].legend(loc="upper left")
    rows[1, 0].set_ylabel("images")
    return figure


def draw_bins(axes: Any, left: Any, accuracy: Any, probability: Any) -> None:
    """Draws the accuracy of each bin, and the mean probability in it, which should be the same."""
    width = 1 / ECE_BINS
    axes.bar(left, accuracy, width, align="edge", color="tab:blue", edgecolor="white", label="share of right answers")
    axes.hlines(probability, left, left + width, color="tab:red", linewidth=2.5, label="mean probability")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def risk_coverage_curve(answers: Mapping[str, Answers]) -> Figure:
    """Returns the share of wrong answers over the share of answers that are given, the most confident first."""
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    axes = figure.subplots()
    for name, each in answers.items():
        risk, coverage = risk_and_coverage(*by_confidence(each, np.ones(len(each))))
        figures = measure(each)
        axes.plot(100 * coverage, 100 * risk, label=f"{name}: area {figures['aurc']:.4f}, AUROC {figures['auroc']:.3f}")
    axes.set_xlabel("answers that are given, the most confident first, %")
    axes.set_ylabel("wrong answers among them, %")
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
