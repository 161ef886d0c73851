"""The tables and figures of the paper, as experiments on any data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from arbex.files import write_atomically
from arbex.progress import SILENT, Reporter
from arbex.registry import load

if TYPE_CHECKING:
    from arbex.experiments.plan import Budget, Experiment

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
    from arbex.experiments.document import figures_text, render
    from arbex.experiments.plan import Results, chosen_by_every_run
    from arbex.experiments.runner import run_all

    experiment = load_experiment(name)
    settings = experiment.settings(budget)
    for each in chosen_by_every_run(settings, budget):
        report.line(f"--set {each} has no effect: every run of {name} has its own value")
    results = Results(run_all(settings, budget, data, out, jobs, report))
    out.mkdir(parents=True, exist_ok=True)
    found = experiment.report(results, budget, data, out)
    write_atomically(out / f"{name}.json", figures_text(name, found, results, budget, command))
    document = out / f"{name}.md"
    write_atomically(document, render(found, results, budget, command, out / f"{name}.json"))
    return document
