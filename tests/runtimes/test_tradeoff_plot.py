"""The plot of a gate's trade-off."""

from __future__ import annotations

from xml.etree import ElementTree

from runtimes.reports import to_html, to_markdown
from runtimes.tradeoff_plot import LEFT, WIDTH, plot

SENSITIVITY = {
    "restored": ["conv"],
    "operators": [],
    "predicted": [{"int8_share": 0.9, "kl": 1e-3}, {"int8_share": 0.5, "kl": 1e-4}, {"int8_share": 0.0, "kl": 0.0}],
    "trials": [
        {"restored": 0, "int8_share": 0.9, "predicted_kl": 1e-3, "mean_kl": 2e-3, "agreement": 0.98},
        {"restored": 1, "int8_share": 0.5, "predicted_kl": 1e-4, "mean_kl": 1e-4, "agreement": 1.0},
    ],
}
OUTCOME = {"passed": True, "bundles": [{"bundle": "b", "passed": True, "artifacts": [], "sensitivity": SENSITIVITY}]}


def test_the_plot_places_what_was_measured():
    root = ElementTree.fromstring(plot(SENSITIVITY))
    dots = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter("circle")]
    assert len(dots) == 2
    assert dots[0][0] == LEFT + 0.9 * (WIDTH - LEFT - 20)
    assert dots[0][1] < dots[1][1]  # more divergence lies higher
    (line,) = root.iter("polyline")
    assert len(line.get("points", "").split()) == 2  # zero has no logarithm
    assert [t.text for t in root.iter("text")][:3] == ["1e-4", "1e-3", "1e-2"]


def test_a_plot_of_one_exact_point_is_drawn():
    one = {"predicted": [], "trials": [{**SENSITIVITY["trials"][0], "mean_kl": 0.0}]}  # type: ignore[index, dict-item]
    assert "<circle" in plot(one)


def test_both_reports_show_the_trade_off():
    assert "| 1 | 50.0% | 1.0e-04 | 1.0e-04 | 100.00% |" in to_markdown(OUTCOME)
    page = to_html(OUTCOME)
    assert "<svg" in page
    assert "<td>2.0e-03</td>" in page


def test_without_a_gate_there_is_none():
    bundle = {k: v for k, v in OUTCOME["bundles"][0].items() if k != "sensitivity"}  # type: ignore[index]
    assert "svg viewBox" not in to_html({**OUTCOME, "bundles": [bundle]})
