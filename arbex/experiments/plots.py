"""Plots of experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from arbex.experiments.statistics import Estimate

matplotlib.use("Agg")  # no screen is needed

INCH = 5.0
DPI = 110


@contextmanager
def figure(path: Path, width: float = INCH * 1.6, height: float = INCH) -> Iterator[Any]:
    """Yields axes and writes them to a file."""
    made, axes = plt.subplots(figsize=(width, height), layout="constrained")
    try:
        yield axes
        made.savefig(path, dpi=DPI)
    finally:
        plt.close(made)


def margins(values: Sequence[Estimate], scale: float) -> list[float]:
    """Returns the margins of estimates, 0 where there is none."""
    return [scale * (value.margin or 0.0) for value in values]


def bars(path: Path, labels: Sequence[str], values: Sequence[Estimate], x: str, y: str) -> str:
    """Draws shares in per cent with their intervals as points, and returns the file's name."""
    with figure(path) as axes:
        places = np.arange(len(labels))
        axes.errorbar(places, [100 * v.mean for v in values], margins(values, 100), fmt="o", capsize=4)
        axes.set_xticks(places, labels)
        axes.tick_params(axis="x", labelsize="small")
        axes.set_xlabel(x)
        axes.set_ylabel(f"{y} %, 95 % interval")
        axes.grid(axis="y", alpha=0.3)
    return path.name


def heat_map(
    path: Path, cells: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], names: tuple[str, ...]
) -> str:
    """Draws a table of numbers in colors, with the names of rows, columns and values; returns the file's name."""
    with figure(path) as axes:
        image = axes.imshow(np.asarray(cells), aspect="auto", cmap="viridis")
        middle = (np.min(cells) + np.max(cells)) / 2
        for i, row in enumerate(cells):
            for j, value in enumerate(row):
                color = "white" if value < middle else "black"
                axes.text(j, i, f"{value:.1f}", ha="center", va="center", color=color)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_ylabel(names[0])
        axes.set_xlabel(names[1])
        axes.figure.colorbar(image, label=names[2])
    return path.name


def lines(path: Path, curves: Mapping[str, Sequence[Estimate]], x: str, y: str) -> str:
    """Draws curves with their intervals over 1, 2, …; returns the file's name."""
    with figure(path) as axes:
        for name, values in curves.items():
            places = np.arange(1, len(values) + 1)
            means, apart = np.array([v.mean for v in values]), np.array(margins(values, 1.0))
            axes.plot(places, 100 * means, label=name)
            axes.fill_between(places, 100 * (means - apart), 100 * (means + apart), alpha=0.12)
        axes.set_xlabel(x)
        axes.set_ylabel(f"{y} %, 95 % interval")
        axes.legend()
        axes.grid(alpha=0.3)
    return path.name


def scatter(
    path: Path, maps: Mapping[str, NDArray[np.float32]], classes: NDArray[np.int64], names: Sequence[str]
) -> str:
    """Draws points ``[n, 2]`` of several maps side by side, colored by class; returns the file's name."""
    made, row = plt.subplots(1, len(maps), figsize=(INCH * len(maps), INCH), layout="constrained", squeeze=False)
    try:
        for axes, (title, points) in zip(row[0], maps.items(), strict=True):
            for i, name in enumerate(names):
                own = points[classes == i]
                axes.scatter(own[:, 0], own[:, 1], s=6, label=name)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0][-1].legend(fontsize="small", markerscale=2)
        made.savefig(path, dpi=DPI)
    finally:
        plt.close(made)
    return path.name


def faces(
    path: Path,
    images: NDArray[np.uint8],
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    truth: Sequence[int],
    names: Sequence[str],
) -> str:
    """Draws images ``[n, S, S, 3]`` with their primary and corrected distributions; returns the file's name."""
    count = len(images)
    made, rows = plt.subplots(
        count, 2, figsize=(INCH * 1.7, 1.5 * count), layout="constrained", squeeze=False, width_ratios=(1, 4)
    )
    try:
        for (left, right), image, (primary, corrected), label in zip(rows, images, pairs, truth, strict=True):
            left.imshow(image)
            left.set_axis_off()
            places = np.arange(len(names))
            right.bar(places - 0.2, primary, 0.4, label="primary")
            right.bar(places + 0.2, corrected, 0.4, label="corrected")
            right.set_ylim(0, 1)
            right.set_xticks(places, [f"{n} *" if i == label else n for i, n in enumerate(names)], fontsize="x-small")
        rows[0][1].legend(fontsize="x-small")
        made.savefig(path, dpi=DPI)
    finally:
        plt.close(made)
    return path.name
