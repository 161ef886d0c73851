"""Plots of experiments, drawn without a screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from arbex.experiments.statistics import PERCENT, Interval

INCH = 5.0
"""Height of a plot in inches."""

PER_ROW = 0.35
"""Height of a row in a plot of many rows, in inches."""

DPI = 110


@contextmanager
def grid(path: Path, rows: int, columns: int, size: tuple[float, float], **options: Any) -> Iterator[NDArray[Any]]:
    """Yields axes ``[rows, columns]`` and writes them to a file of ``size`` inches."""
    # A figure of its own: pyplot would choose a backend for the whole process.
    figure = Figure(figsize=size, layout="constrained")
    yield figure.subplots(rows, columns, squeeze=False, **options)
    figure.savefig(path, dpi=DPI)


@contextmanager
def plot(path: Path, height: float = INCH) -> Iterator[Any]:
    """Yields one pair of axes and writes it to a file, ``height`` inches high."""
    with grid(path, 1, 1, (1.6 * INCH, height)) as axes:
        yield axes[0, 0]


def margins(values: Sequence[Interval]) -> NDArray[np.float64]:
    """Returns how far intervals reach below and above their means, in percent ``[2, n]``."""
    reach = [(value.mean - value.ci95[0], value.ci95[1] - value.mean) for value in values]
    # A bootstrap's interval may leave out the mean by rounding.
    either: NDArray[np.float64] = PERCENT * np.array(reach).reshape(-1, 2).clip(min=0).T
    return either


def means(values: Sequence[Interval]) -> list[float]:
    """Returns the means of intervals in percent."""
    return [PERCENT * value.mean for value in values]


def bars(path: Path, labels: Sequence[str], values: Sequence[Interval], x: str, y: str) -> str:
    """Draws shares in percent as points with their intervals; returns the file's name.

    Args:
        path: The file to write.
        labels: What the shares are of.
        values: The shares.
        x: What the labels are.
        y: What the shares are.
    """
    with plot(path) as axes:
        places = np.arange(len(labels))
        axes.errorbar(places, means(values), margins(values), fmt="o", capsize=4)
        axes.set_xticks(places, labels)
        axes.tick_params(axis="x", labelsize="small")
        axes.set_xlabel(x)
        axes.set_ylabel(f"{y} %, 95 % interval")
        axes.grid(axis="y", alpha=0.3)
    return path.name


def rows(path: Path, shares: Mapping[str, Interval], what: str, *, over: str = "") -> str:
    """Draws shares in percent as points with their intervals, one below the other; returns the file's name.

    Args:
        path: The file to write.
        shares: The shares by what they are of, which may be long.
        what: What the shares are.
        over: If they are differences, from what; a line then marks zero.
    """
    values, places = list(shares.values()), -np.arange(len(shares))
    with plot(path, height=max(INCH, PER_ROW * len(shares))) as axes:
        axes.errorbar(means(values), places, xerr=margins(values), fmt="o", capsize=4)
        axes.set_yticks(places, list(shares))
        axes.grid(axis="x", alpha=0.3)
        if over:
            axes.axvline(0, color="gray", linewidth=1)
        axes.set_xlabel(f"{what} over that of {over}, points, 95 % interval" if over else f"{what} %, 95 % interval")
    return path.name


def heat_map(
    path: Path, cells: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], names: tuple[str, ...]
) -> str:
    """Draws a table of numbers in colors; returns the file's name.

    Args:
        path: The file to write.
        cells: Numbers by row and column.
        rows: Labels of the rows.
        columns: Labels of the columns.
        names: What rows, columns and numbers are.
    """
    with plot(path) as axes:
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


def lines(path: Path, each: Mapping[str, Sequence[Interval]], x: str, y: str) -> str:
    """Draws curves of shares in percent over 1, 2, …, with their intervals; returns the file's name."""
    with plot(path) as axes:
        draw_curves(axes, each)
        axes.set_xlabel(x)
        axes.set_ylabel(f"{y} %, 95 % interval")
        axes.legend()
    return path.name


def curves(path: Path, plots: Mapping[str, Mapping[str, Sequence[Interval]]]) -> str:
    """Draws several plots of curves in percent over epochs, with their intervals; returns the file's name."""
    columns = 2
    rows = -(-len(plots) // columns)
    with grid(path, rows, columns, (INCH * 1.2 * columns, INCH * 0.7 * rows)) as axes:
        for place, (title, each) in zip(axes.flat, plots.items(), strict=False):
            draw_curves(place, each)
            place.set_title(title, fontsize="medium")
            place.set_xlabel("epoch")
            place.set_ylabel("%")
            place.set_ylim(bottom=0)
            place.legend(fontsize="small")
    return path.name


def draw_curves(axes: Any, each: Mapping[str, Sequence[Interval]]) -> None:
    """Draws curves of shares in percent over 1, 2, …, with their intervals."""
    for name, values in each.items():
        places = np.arange(1, len(values) + 1)
        middle, (below, above) = np.array(means(values)), margins(values)
        axes.plot(places, middle, label=name)
        axes.fill_between(places, middle - below, middle + above, alpha=0.12)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def scatter(
    path: Path, maps: Mapping[str, NDArray[np.float32]], classes: NDArray[np.int64], names: Sequence[str]
) -> str:
    """Draws points ``[n, 2]`` of several maps side by side, colored by class; returns the file's name."""
    with grid(path, 1, len(maps), (INCH * len(maps), INCH)) as row:
        for axes, (title, points) in zip(row[0], maps.items(), strict=True):
            for i, name in enumerate(names):
                own = points[classes == i]
                axes.scatter(own[:, 0], own[:, 1], s=6, label=name)
            axes.set_title(title)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0, -1].legend(fontsize="small", markerscale=2)
    return path.name


def faces(
    path: Path,
    images: NDArray[np.uint8],
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    truth: Sequence[int],
    names: Sequence[str],
) -> str:
    """Draws images ``[n, S, S, 3]`` next to their primary and corrected distributions; returns the file's name."""
    with grid(path, len(images), 2, (1.7 * INCH, 1.5 * len(images)), width_ratios=(1, 4)) as rows:
        for (left, right), image, (primary, corrected), label in zip(rows, images, pairs, truth, strict=True):
            left.imshow(image)
            left.set_axis_off()
            places = np.arange(len(names))
            right.bar(places - 0.2, primary, 0.4, label="primary")
            right.bar(places + 0.2, corrected, 0.4, label="corrected")
            right.set_ylim(0, 1)
            right.set_xticks(places, [f"{n} *" if i == label else n for i, n in enumerate(names)], fontsize="x-small")
        rows[0, 1].legend(fontsize="x-small")
    return path.name
