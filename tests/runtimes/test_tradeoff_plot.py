"""The plot of a gate's trade-off."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from arbex.provenance import PredictedPoint, Tradeoff, Trial
from runtimes.outcomes import BundleReport, Verification
from runtimes.reports import to_html, to_markdown
from runtimes.tradeoff_plot import LEFT, WIDTH, plot

FREE = Trial(restored=0, int8_share=0.9, predicted_kl=1e-3, mean_kl=2e-3, agreement=0.98)
HELD = Trial(restored=1, int8_share=0.5, predicted_kl=1e-4, mean_kl=1e-4, agreement=1.0)
CURVE = tuple(PredictedPoint(int8_share=share, kl=kl) for share, kl in ((0.9, 1e-3), (0.5, 1e-4), (0.0, 0.0)))
TRADEOFF = Tradeoff(restored=("conv",), trials=(FREE, HELD), predicted=CURVE, operators=())
OUTCOME = Verification((BundleReport(bundle="b", sensitivity=TRADEOFF),))


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
    assert "| 1 | 50.0% | 1.0e-04 | 1.0e-04 | 100.00% |" in to_markdown(OUTCOME)
    page = to_html(OUTCOME)
    assert "<svg" in page
    assert "<td>2.0e-03</td>" in page


def test_without_a_gate_there_is_none() -> None:
    assert "<svg" not in to_html(Verification((BundleReport(bundle="b"),)))
