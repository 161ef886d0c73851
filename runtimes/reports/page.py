"""The outcome as one HTML page without outside resources."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arbex.errors import MissingPackageError
from runtimes.evidence import EDGES
from runtimes.outcomes import Verification
from runtimes.parity import GroupParity
from runtimes.reports import figures
from runtimes.reports.tradeoff_plot import plot

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent

SHOWN_SIDE = 128
"""Largest side of a shown image in pixels."""


def to_html(outcome: Verification) -> str:
    """Returns the outcome as a page.

    Raises:
        MissingPackageError: If jinja2 is not installed.
    """
    return environment().get_template("page.html").render(outcome=outcome, verdict=verdict(outcome))


def verdict(outcome: Verification) -> str:
    """Returns the outcome of all bundles in one word."""
    outcomes = {a.outcome for bundle in outcome.bundles for a in bundle.artifacts}
    broken = any(bundle.why for bundle in outcome.bundles)
    if broken or "failed" in outcomes:
        return "failed"
    return "undecided" if "undecided" in outcomes else "passed"


@cache
def environment() -> Environment:
    """Returns what renders the template; values are escaped."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingPackageError("jinja2", "writing a report in HTML", extra="report") from error

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"titles": figures.SUMMARY, "summary": figures.summary, "rows": figures.rows, "plot": plot}
    made.globals |= {"bars": bars, "axis": axis, "change_titles": figures.CHANGES}
    made.globals["change_row"] = figures.change_row
    made.filters |= {"picture": picture, "share": figures.share, "small": figures.small, "change": figures.change}
    made.filters["folder"] = lambda path: Path(path).name
    return made


def picture(image: NDArray[np.uint8]) -> str:
    """Returns an image ``[S, S, 3]`` as the address of itself, made smaller if it is large."""
    shown = Image.fromarray(image)
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    stream = io.BytesIO()
    shown.save(stream, format="JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


@dataclass(frozen=True)
class Bar:
    """A bar of the distribution of divergences.

    Attributes:
        height: Height relative to the highest, in percent.
        title: What it stands for.
        label: Text below it; mostly empty.
    """

    height: float
    title: str
    label: str


def bars(shares: tuple[float, ...]) -> list[Bar]:
    """Returns the bars of a distribution, without the empty ones at both ends."""
    used = [i for i, value in enumerate(shares) if value]
    out = []
    for i in range(used[0], used[-1] + 1) if used else ():
        low, high = (10 ** float(edge) for edge in EDGES[i : i + 2])
        decade = round(float(EDGES[i]), 3)
        label = f"1e{decade:.0f}" if decade == int(decade) or len(used) == 1 else ""
        out.append(Bar(100 * shares[i] / max(shares), f"{low:.1e} to {high:.1e}: {shares[i]:.1%} of the images", label))
    return out


def axis(groups: Mapping[str, GroupParity]) -> float:
    """Returns where an axis of agreements begins, so that every interval fits on it."""
    lowest = min(group.top1_agreement_ci95[0] for group in groups.values())
    return max(0.0, math.floor(20 * lowest) / 20)
