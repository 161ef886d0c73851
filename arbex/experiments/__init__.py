"""The tables and figures of the paper, as experiments on any data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from arbex.files import write_atomically
from arbex.progress import SILENT, Reporter
from arbex.registry import load

if TYPE_CHECKING:
    from arbex.experiments.plan import Budget, Experiment, Report, Results

EXPERIMENTS = {
    "table-1": ("arbex.experiments.anchors:Table1", "accuracy by the number of anchors"),
    "table-2": ("arbex.experiments.anchors:Table2", "anchors and label noise"),
    "table-3": ("arbex.experiments.anchors:Table3", "anchors and label smoothing"),
    "table-4": ("arbex.experiments.tables:Table4", "weight and form of the anchor loss"),
    "table-5": ("arbex.experiments.tables:Table5", "all methods on one encoder"),
    "fig-5": ("arbex.experiments.figures:Figure5", "distributions before and after correction"),
    "fig-6": ("arbex.experiments.figures:Figure6", "embeddings, with scores of their clusters"),
    "fig-7": ("arbex.experiments.tables:Figure7", "accuracy over epochs by setup of the loss"),
    "head": ("arbex.experiments.head:Head", "readings of the reliability head, and controls"),
    "tcl": ("arbex.experiments.baselines:TripletCenters", "negatives and attention of triplet-center loss"),
    "nla": ("arbex.experiments.baselines:LabelAmbiguity", "both forms of NLA with noise and imbalance"),
    "tuning": ("arbex.experiments.tuning:Tuning", "settings of each method, chosen on validation"),
    "regimes": ("arbex.experiments.regimes:Regimes", "correction with other labels, sampling and augmentation"),
    "gain": ("arbex.experiments.gain:Gain", "correction against a linear classifier"),
}
"""``module:class`` and subject of each experiment by its name on the command line."""


def load_experiment(name: str) -> Experiment:
    """Returns an experiment.

    Raises:
        UnsupportedError: If there is no experiment of that name.
    """
    found: type[Experiment] = load("experiment", name, {key: where for key, (where, _) in EXPERIMENTS.items()})
    return found()


def run_experiment(
    name: str, data: str, out: Path, budget: Budget, *, jobs: int = 1, command: str = "", report: Reporter = SILENT
) -> Path:
    """Trains the runs of an experiment, and writes ``NAME.md``, ``NAME.json`` and plots.

    Finished runs are kept, so an interrupted experiment continues when it is called again.

    Args:
        name: Name of the experiment.
        data: Data set, ``PATH`` or ``LAYOUT:PATH``.
        out: Folder of documents and runs.
        budget: Size of the experiment.
        jobs: Number of runs at a time.
        command: Command that the user called, for the document.
        report: Takes progress.

    Returns:
        Path of the Markdown document.

    Raises:
        UnsupportedError: If there is no such experiment.
        InputError: If data, settings or earlier runs cannot be used.
    """
    from arbex.experiments.plan import Results, chosen_by_every_run
    from arbex.experiments.runner import run_all

    experiment = load_experiment(name)
    settings = experiment.settings(budget)
    for each in chosen_by_every_run(settings, budget):
        report.line(f"--set {each} has no effect: every run of {name} has its own value")
    results = Results(run_all(settings, budget, data, out, jobs, report))
    out.mkdir(parents=True, exist_ok=True)
    found = experiment.report(results, budget, data, out)
    figures = {
        "experiment": name,
        "command": command,
        "budget": asdict(budget),
        "figures": found.figures,
        "runs": [outcome.to_json() for outcome in results.outcomes],
    }
    write_atomically(out / f"{name}.json", json.dumps(figures, indent=1) + "\n")
    document = out / f"{name}.md"
    write_atomically(document, render(found, results, budget, command, out / f"{name}.json"))
    return document


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
