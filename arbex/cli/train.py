"""``arbex train``: train a model and write a run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from arbex.cli.console import DATA_HELP, Console, debug_option, print_table
from arbex.cli.parameters import PATH, SOURCE
from arbex.methods import METHODS

MOST_NAMES: Final = 4
"""How many people of a fold are named in its table."""


@click.command()
@click.option("--data", type=SOURCE, required=True, help=DATA_HELP)
@click.option("--out", type=PATH, help="Folder of the run.  [default: a new one under runs/]")
@click.option(
    "--preset",
    type=click.Choice(["tiny", "small", "mobile", "base", "poster-v1"]),
    help="Preset of the encoder.  [default: tiny]",
)
@click.option("--method", type=click.Choice(METHODS), help="Training method.  [default: arbex]")
@click.option(
    "--epochs",
    type=click.IntRange(min=0),
    help="Number of epochs; 0 writes the untrained model.  [default: the preset's]",
)
@click.option("--anchors", type=click.IntRange(min=0), help="Anchors per class.  [default: 10]")
@click.option("--image-size", type=click.IntRange(min=16), help="Side of the input in pixels.  [default: the preset's]")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of weights, choice of images and augmentation.  [default: 0]",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0.01, 1),
    help="Share of validation images whose answers shall count as sure.  [default: 1]",
)
@click.option("--windows", metavar="A,…", help="Side of the attention window per level.  [default: the preset's]")
@click.option("--init", multiple=True, type=PATH, help="RUN or FILE of weights to start from; repeatable.")
@click.option("--new-head", is_flag=True, help="Take only the encoder from --init.")
@click.option("--teacher", type=PATH, metavar="RUN", help="Also learn from the answers of RUN.")
@click.option("--teacher-backbone", metavar="MODULE:CALLABLE", help="Custom backbone of the teacher, if it has one.")
@click.option(
    "--backbone", metavar="MODULE:CALLABLE", help="Callable that builds a custom backbone, in place of a preset."
)
@click.option("--devices", type=click.IntRange(min=1), help="Processes on this machine.  [default: torchrun's, else 1]")
@click.option(
    "--folds", metavar="N|people", help="Cross-validate over people: a run per fold in --out.  [default: one run]"
)
@click.option("--resume", is_flag=True, help="Continue the run in --out; what is not given is as there.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Override a setting; repeatable.")
@debug_option
def train(
    data: str,
    out: Path | None,
    preset: str | None,
    method: str | None,
    epochs: int | None,
    anchors: int | None,
    image_size: int | None,
    seed: int | None,
    coverage: float | None,
    windows: str | None,
    init: tuple[Path, ...],
    new_head: bool,
    teacher: Path | None,
    teacher_backbone: str | None,
    backbone: str | None,
    devices: int | None,
    folds: str | None,
    resume: bool,
    assignments: tuple[str, ...],
) -> None:
    """Train a model on --data and write a run.

    --set takes settings such as batch_size, learning_rate, schedule, label_smoothing, lambda_class, lambda_anchor,
    lambda_center and images_per_class, and the options of the method; an unknown name is an error that lists them all.
    The defaults of preset base are the paper's values, where the paper gives them.
    """
    from arbex.api import train as run_training
    from arbex.checkpoint import open_run

    console = Console()
    folder = run_training(
        data,
        out=out,
        preset=preset,
        method=method,
        epochs=epochs,
        anchors=anchors,
        image_size=image_size,
        seed=seed,
        coverage=coverage,
        windows=parse_windows(windows),
        init=init,
        new_head=new_head,
        teacher=teacher,
        teacher_backbone=teacher_backbone,
        backbone=backbone,
        devices=devices,
        folds=folds,
        resume=resume,
        settings=assignments,
        report=console,
    )
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))):
        return  # of several processes, only the first prints
    if folds is not None:
        show_folds(folder)
        return
    run = open_run(folder)
    if not run.epoch:
        click.echo(f"{folder}: untrained")
        console.line(f"Next: arbex train --data {data} --out {folder} --resume --epochs NUMBER")
        return
    click.echo(f"{folder}: best epoch {run.epoch}, accuracy {run.accuracy:.3f} on validation")
    code = f" --backbone {backbone}" if backbone else ""
    console.line(f"Next: arbex evaluate {folder} --data {data}{code}, then: arbex export {folder} --target all{code}")


def show_folds(folder: Path) -> None:
    """Prints the figures of a cross-validation."""
    found = json.loads((folder / "folds.json").read_text(encoding="utf-8"))
    rows = [
        [Path(fold["run"]).name, few_or_number(fold["people"]), str(fold["n"]), f"{fold['accuracy']:.4f}"]
        for fold in found["folds"]
    ]
    print_table(("run", "people", "images", "accuracy"), rows)
    pooled = found["pooled"]
    low, high = pooled["ci95"]["accuracy"]
    click.echo(f"all {pooled['n']} images: accuracy {pooled['accuracy']:.4f} ({low:.4f} to {high:.4f})")
    if pooled["coverage"] is not None:
        right = "" if pooled["accuracy_of_sure"] is None else f", of which {pooled['accuracy_of_sure']:.1%} are right"
        click.echo(f"confident enough, by the threshold of each run: {pooled['coverage']:.1%} of answers{right}")


def few_or_number(people: Sequence[str]) -> str:
    """Returns the names of a few people, and the number of more, which would not fit into a terminal."""
    return ", ".join(people) if len(people) <= MOST_NAMES else str(len(people))


def parse_windows(text: str | None) -> tuple[int, ...] | None:
    """Parses numbers separated by commas."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(
            f"{text!r} is not a list of numbers. Allowed: whole numbers, such as 14,7,7.", param_hint="--windows"
        )
    return tuple(int(part) for part in parts)
