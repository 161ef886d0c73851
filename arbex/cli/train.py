"""``arbex train``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from arbex.cli.console import Console, debug_option


@click.command()
@click.option("--data", required=True, help="Data set: PATH or LAYOUT:PATH.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: a new one under runs/]")
@click.option("--preset", type=click.Choice(["tiny", "mobile", "base"]), default="tiny", show_default=True)
@click.option("--method", default="arbex", show_default=True, help="arbex or poster.")
@click.option("--epochs", type=click.IntRange(min=0), help="0 writes the untrained model.  [default: the preset's]")
@click.option("--anchors", type=click.IntRange(min=1), default=10, show_default=True, help="Anchors a class.")
@click.option("--image-size", type=click.IntRange(min=16), help="Side of the input.  [default: the preset's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Override a setting; repeatable.")
@debug_option
def train(
    data: str,
    out: Path | None,
    preset: str,
    method: str,
    epochs: int | None,
    anchors: int,
    image_size: int | None,
    seed: int,
    resume: bool,
    assignments: tuple[str, ...],
) -> None:
    """Train a model on DATA and write a run.

    Settings for --set, with the paper's values as the defaults of preset base: batch_size, learning_rate,
    schedule, label_smoothing, lambda_class, lambda_anchor, lambda_centre, images_per_class and others;
    a wrong name lists them all.
    """
    from dataclasses import replace

    from arbex.training.settings import PRESET_SETTINGS, override

    settings = override(replace(PRESET_SETTINGS[preset], seed=seed), assignments)
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    console = Console()
    if out is None:
        out = Path("runs") / time.strftime(f"%Y%m%d-%H%M%S-{preset}-{method}")
        console.line(f"writing to {out} (--out)")
    from arbex.methods import load_method
    from arbex.training.loop import TrainRequest
    from arbex.training.loop import train as train_model

    load_method(method)
    request = TrainRequest(data, out, preset, method, settings, anchors, image_size, resume)
    state = train_model(request, report=console)
    if state.best_epoch:
        accuracy = state.best_score[0]
        click.echo(f"{out}: best epoch {state.best_epoch}, accuracy {accuracy:.3f} on validation")
    else:
        click.echo(f"{out}: untrained")
    console.line(f"Next: arbex evaluate {out} --data {data}, then: arbex export {out} --target all")
