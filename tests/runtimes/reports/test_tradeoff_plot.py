"""The plot of a gate's trade-off."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from runtimes.outcomes import BundleReport, Verification
from runtimes.reports.markdown import to_markdown
from runtimes.reports.page import to_html
from runtimes.reports.tradeoff_plot import LEFT, WIDTH, plot
from tests.runtimes.reports.outcomes import FREE, PROVENANCE, TRADEOFF

OUTCOME = Verification((BundleReport(bundle="b", provenance=PROVENANCE),))


def test_the_plot_places_what_was_measured() -> None:
    root = ElementTree.fromstring(plot(TRADEOFF))
    dots = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter("circle")]
    assert len(dots) == 2
    assert dots[0][0] == LEFT + 0.9 * (WIDTH - LEFT - 20)
    assert dots[0][1] < dots[1][1]  # more divergence lies higher
    (line,) = root.iter("polyline")
    assert len(line.get("points", "").split()) == 2  # zero has no logarithm
    assert [t.text for t in root.iter("text")][:3] == ["1e-4", "1e-3", "1e-2"]


def test_a_plot_of_one_exact_point_is_drawn() -> None:
    assert "<circle" in plot(replace(TRADEOFF, predicted=(), trials=(replace(FREE, mean_kl=0.0),)))


def test_both_reports_show_the_trade_off() -> None:
    assert "- b: the gate left 1 operator in float; 50.0% of the multiply-adds are in int8" in to_markdown(OUTCOME)
    page = to_html(OUTCOME)
    assert "<svg" in page
    assert "<td>2.0e-03</td>" in page


def test_without_a_gate_there_is_none() -> None:
    assert "<circle" not in to_html(Verification((BundleReport(bundle="b"),)))
