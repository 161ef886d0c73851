"""``arbex experiment``."""

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
@click.option("--budget", type=click.Choice(["small", "full"]), default="full", show_default=True)
@click.option("--preset", type=click.Choice(["tiny", "mobile", "base"]), help="[default: the budget's]")
@click.option("--image-size", type=click.IntRange(min=16), help="Side of the input.  [default: the budget's]")
@click.option(
    "--init", multiple=True, type=SOURCE, metavar="RUN|FILE", help="What every run takes its encoder from; repeatable."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of every run.  [default: the budget's]")
@click.option("--seeds", type=click.IntRange(min=1), help="Runs a setting.  [default: the budget's]")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: one a processor, one on a GPU]")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="For every run; repeatable.")
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
    """Make a table or a figure of the paper on DATA, with its seeds and intervals.

    The budget small takes minutes on two cores: preset tiny, a part of the grid; full is the paper's grid on preset
    base. An interrupted experiment goes on when it is called again, and experiments share the runs that they have in
    common.
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
    click.echo(f"Written to {document}, {document.with_suffix('.json').name} and plots beside it.", err=True)


def default_jobs() -> int:
    """Returns how many runs fit beside each other."""
    import torch

    return 1 if torch.cuda.is_available() else os.cpu_count() or 1
