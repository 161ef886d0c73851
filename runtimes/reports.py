"""Reports of a verification: pages in HTML and Markdown, and JUnit XML for CI."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from arbex.errors import InputError
from arbex.files import write_atomically
from runtimes import tradeoff_plot
from runtimes.outcomes import ArtifactReport, Verification

COLUMNS = {
    "artifact": "artifact",
    "precision": "precision",
    "runtime": "runtime",
    "cpu": "CPU",
    "samples": "images",
    "max_abs_error": "max error",
    "mean_kl": "mean KL",
    "max_kl": "max KL",
    "top1_agreement": "agreement",
    "top1_agreement_ci95": "95 % interval",
    "ece_delta": "ECE change",
    "confidence_rank_correlation": "rank correlation",
}


def cell(name: str, value: Any) -> str:
    """Formats one figure."""
    if value is None:
        return "-"
    if name == "top1_agreement":
        return f"{value:.2%}"
    if name == "top1_agreement_ci95":
        return f"{value[0]:.2%} to {value[1]:.2%}"
    return f"{value:.2e}" if isinstance(value, float) else str(value)


def figures(artifact: ArtifactReport) -> list[tuple[str, Any]]:
    """Returns the figures of a row with the keys of their columns, in order."""
    row = artifact.to_json()
    return [(name, row[name]) for name in COLUMNS]


def to_markdown(outcome: Verification) -> str:
    """Returns the outcome as a Markdown page."""
    lines = [f"# Parity with PyTorch: {'passed' if outcome.passed else 'failed'}", ""]
    for bundle in outcome.bundles:
        lines += [f"## {bundle.bundle}", ""]
        if bundle.why:
            lines += [bundle.why, ""]
            continue
        lines.append("| " + " | ".join([*COLUMNS.values(), "outcome"]) + " |")
        lines.append("|" + "---|" * (len(COLUMNS) + 1))
        for a in bundle.artifacts:
            lines.append("| " + " | ".join([*(cell(name, value) for name, value in figures(a)), a.outcome]) + " |")
        lines += ["", *(f"- {a.title}: {a.why}" for a in bundle.artifacts if a.why), ""]
        if bundle.sensitivity:
            lines += [*tradeoff_plot.to_markdown(bundle.sensitivity), ""]
    return "\n".join(lines)


STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{padding:.4rem .6rem;text-align:right}
th{border-bottom:2px solid #1b1f24}td{border-bottom:1px solid #d6dae0;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}.passed{color:#11703a}.failed{color:#b3261e;font-weight:600}
.not.executed{color:#6b7280}svg{max-width:40rem;font-size:12px}li{color:#4b5563}"""


PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Parity with PyTorch: {verdict}</title><style>{style}</style></head>
<body>{body}</body>
</html>
"""


def to_html(outcome: Verification) -> str:
    """Returns the outcome as one HTML page without external resources."""
    verdict = "passed" if outcome.passed else "failed"
    parts = [f"<h1>Parity with PyTorch: <span class='{verdict}'>{verdict}</span></h1>"]
    for bundle in outcome.bundles:
        parts.append(f"<h2>{html.escape(bundle.bundle)}</h2>")
        if bundle.why:
            parts.append(f"<p class='failed'>{html.escape(bundle.why)}</p>")
            continue
        head = "".join(f"<th>{title}</th>" for title in [*COLUMNS.values(), "outcome"])
        rows = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(cell(name, value))}</td>" for name, value in figures(a))
            + f"<td class='{a.outcome}'>{a.outcome}</td></tr>"
            for a in bundle.artifacts
        )
        parts.append(f"<table><tr>{head}</tr>{rows}</table>")
        notes = [f"<li>{html.escape(a.title)}: {html.escape(a.why)}</li>" for a in bundle.artifacts if a.why]
        parts.append(f"<ul>{''.join(notes)}</ul>" if notes else "")
        if bundle.sensitivity:
            parts.append(tradeoff_plot.to_html(bundle.sensitivity))
    return PAGE.format(verdict=verdict, style=STYLE, body="".join(parts))


def to_junit(outcome: Verification) -> str:
    """Returns the outcome as JUnit XML: one suite per bundle, one case per artifact."""
    root = ElementTree.Element("testsuites")
    for bundle in outcome.bundles:
        suite = ElementTree.SubElement(root, "testsuite", name=bundle.bundle)
        if bundle.why:
            case = ElementTree.SubElement(suite, "testcase", classname=bundle.bundle, name="integrity")
            ElementTree.SubElement(case, "failure", message=bundle.why)
        for a in bundle.artifacts:
            case = ElementTree.SubElement(suite, "testcase", classname=bundle.bundle, name=a.title)
            if not a.passed:
                ElementTree.SubElement(case, "failure", message=a.why)
            elif not a.executed:
                ElementTree.SubElement(case, "skipped", message=a.why)
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(c.find("failure") is not None for c in cases)))
        suite.set("skipped", str(sum(c.find("skipped") is not None for c in cases)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


FORMATS: dict[str, Callable[[Verification], str]] = {
    ".html": to_html,
    ".md": to_markdown,
    ".xml": to_junit,
}


def check_suffix(path: Path) -> None:
    """Refuses a report file of an unknown format, or in a folder that does not exist.

    Raises:
        InputError: If the suffix is none of ``.html``, ``.md``, ``.xml``, or the folder does not exist.
    """
    if path.suffix not in FORMATS:
        raise InputError(
            f"The suffix of the report {path} is {path.suffix or 'missing'}.", allowed=f"Allowed: {', '.join(FORMATS)}."
        )
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} of the report does not exist.", remedy="Create the folder first.")


def write_report(path: Path, outcome: Verification) -> None:
    """Writes the outcome of ``arbex verify`` in the format of the file's suffix."""
    write_atomically(path, FORMATS[path.suffix](outcome))
