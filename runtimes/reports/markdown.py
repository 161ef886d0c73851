"""The outcome in Markdown, short enough for a comment on a pull request."""

from __future__ import annotations

from pathlib import Path

from runtimes.outcomes import Verification
from runtimes.reports.figures import CHANGES, MISSING, SUMMARY, change_row, summary

SIGNS = {"passed": "✅ passed", "failed": "❌ failed", "undecided": "❔ undecided", "not executed": "➖ not run"}


def to_markdown(outcome: Verification) -> str:
    """Returns the outcome as Markdown: a line per artifact, then the reasons."""
    lines = [f"### Parity with PyTorch: {'passed' if outcome.passed else 'not passed'}", ""]
    lines += [table_row("bundle", "artifact", "runtime", "outcome", *SUMMARY), "|---|---|---|---|" + "---:|" * 4]
    reasons = []
    for bundle in outcome.bundles:
        name = Path(bundle.bundle).name
        if bundle.why:
            lines.append(table_row(name, MISSING, MISSING, SIGNS["failed"], *[MISSING] * 4))
            reasons.append(f"- {name}: {escaped(bundle.why)}")
        for a in bundle.artifacts:
            lines.append(table_row(name, a.title, a.runtime, SIGNS[a.outcome], *summary(a)))
            reasons += [f"- {name}/{a.title}: {escaped(remark)}" for remark in a.remarks]
        if bundle.sensitivity:
            count, trial = len(bundle.sensitivity.restored), bundle.sensitivity.trials[-1]
            reasons.append(
                f"- {name}: the gate left {count} operator{'' if count == 1 else 's'} in float; "
                f"{trial.int8_share:.1%} of the multiply-adds are in int8"
            )
    lines += ["", *dict.fromkeys(reasons), ""]
    if outcome.changes is not None:
        lines += ["Since the earlier verification:", "", table_row(*CHANGES), "|---|---|---|---:|---:|"]
        lines += [table_row(*change_row(change)) for change in outcome.changes]
    return "\n".join([*lines, ""])


def table_row(*cells: str) -> str:
    """Returns a row of a table."""
    return "| " + " | ".join(map(escaped, cells)) + " |"


def escaped(text: str) -> str:
    """Returns text that no table cell and no HTML tag ends in."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
