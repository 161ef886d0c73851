"""What an experiment writes: a Markdown document, and a JSON file of the figures behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from arbex.experiments.plan import Budget, Report, Results

IN_THE_RUN_ALONE: Final = {"confusion", "per_class", "ci95", "groups", "worst_group"}
"""Scores of a run that are left out, as they would be most of the file: ``arbex evaluate`` computes them from it."""

DIGITS: Final = 6
"""Significant digits of a figure in the JSON file."""


def shell_block(commands: Sequence[str], work: str) -> str:
    """Returns commands as a block of shell code, marked as too long for the tests of the documentation to run."""
    return "\n".join([f"<!-- not run: long, {work} -->", "```shell", *commands, "```"])


def render(found: Report, results: Results, budget: Budget, command: str, figures: Path) -> str:
    """Returns the Markdown document of an experiment; ``figures`` is the JSON file next to it."""
    seconds, runs = sum(outcome.seconds for outcome in results.outcomes), len(results.outcomes)
    parts = [f"# {found.title}", shell_block([command], f"trains {runs} models") if command else "", found.body]
    parts += [f"![{found.title}]({plot})" for plot in found.plots]
    parts += [
        f"{runs} runs of preset `{budget.preset}`, {budget.seeds} seed{'s' * (budget.seeds > 1)} per setting, "
        f"{seconds / 60:.0f} minutes of training in total. Figures are for the {found.split} split, at the epoch that "
        "was best on validation; ± is half of the 95 % interval over seeds (Student's t). The commands of one run "
        f"follow; those of the others are in `{figures.name}`.",
        shell_block(results.outcomes[0].commands, "trains a model"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures_text(name: str, found: Report, results: Results, budget: Budget, command: str) -> str:
    """Returns the content of the JSON file, with a line for each run."""
    head = {"experiment": name, "command": command, "budget": asdict(budget), "figures": rounded(found.figures)}
    runs = ",\n  ".join(json.dumps(rounded(without_bulk(outcome.to_json()))) for outcome in results.outcomes)
    return f'{json.dumps(head, indent=1).removesuffix("}").rstrip()},\n "runs": [\n  {runs}\n ]\n}}\n'


def without_bulk(value: Any) -> Any:
    """Returns a JSON value without the scores that are left to the run itself, at any depth."""
    if isinstance(value, dict):
        return {name: without_bulk(entry) for name, entry in value.items() if name not in IN_THE_RUN_ALONE}
    return value


def rounded(value: Any) -> Any:
    """Returns a JSON value with figures of few digits."""
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
