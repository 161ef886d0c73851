"""``arbex experiment``: tables and figures of the paper, and comparisons of settings."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from arbex.cli.console import DATA_HELP, Console, debug_option
from arbex.cli.parameters import PATH, SOURCE
from arbex.experiments import EXPERIMENTS

NAMES = "\n".join(f"{name:<10}{text}" for name, (_, text) in EXPERIMENTS.items())


@click.command(epilog=f"\b\nEXPERIMENTs:\n{NAMES}")
@click.argument("name", metavar="EXPERIMENT", type=click.Choice(list(EXPERIMENTS)))
@click.option("--data", type=SOURCE, required=True, help=DATA_HELP)
@click.option(
    "--out",
    type=PATH,
    help="Folder of documents and runs.  [default: results]",
)
@click.option(
    "--budget", type=click.Choice(["small", "full"]), default="full", show_default=True, help="Size of the experiment."
)
@click.option(
    "--preset",
    type=click.Choice(["tiny", "small", "mobile", "base", "poster-v1"]),
    help="Preset of the encoder, at its own image size.  [default: the budget's]",
)
@click.option("--image-size", type=click.IntRange(min=16), help="Side of the input in pixels.  [default: the budget's]")
@click.option(
    "--init", multiple=True, type=SOURCE, metavar="RUN|FILE", help="Weights that every encoder starts from; repeatable."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of every run.  [default: the budget's]")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help="Number of seeds, with one run each per setting.  [default: the budget's]",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs in parallel.  [default: one per core, one on a GPU]")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="[METHOD:]NAME=VALUE",
    help="Override a setting, of all runs or of those of one method; repeatable.",
)
@debug_option
def experiment(
    name: str,
    data: str,
    out: Path | None,
    budget: str,
    preset: str | None,
    image_size: int | None,
    init: tuple[str, ...],
    epochs: int | None,
    seeds: int | None,
    jobs: int | None,
    assignments: tuple[str, ...],
) -> None:
    """Reproduce a table or a figure of the paper, or compare settings, over several seeds and with intervals.

    --budget small trains a part of the paper's grid with preset tiny, which takes minutes on two cores; --budget full
    trains the whole grid with preset base. To continue an interrupted experiment, start it again. Experiments share the
    runs that they have in common.
    """
    from dataclasses import replace

    from arbex.experiments import run_experiment
    from arbex.experiments.plan import choose_budget

    chosen = choose_budget(budget)
    chosen = replace(
        chosen,
        preset=preset or chosen.preset,
        epochs=epochs or chosen.epochs,
        seeds=seeds or chosen.seeds,
        assignments=(*chosen.assignments, *assignments),
        image_size=image_size or (None if preset else chosen.image_size),
        init=init,
    )
    command = shlex.join(["arbex", *sys.argv[1:]])
    out = out or Path("results")
    document = run_experiment(name, data, out, chosen, jobs=jobs or default_jobs(), command=command, report=Console())
    click.echo(document.read_text(encoding="utf-8"))
    click.echo(f"Wrote {document}, and next to it {document.with_suffix('.json').name} and the plots.", err=True)


def default_jobs() -> int:
    """Returns how many runs are trained in parallel."""
    import torch

    return 1 if torch.cuda.is_available() else os.cpu_count() or 1
