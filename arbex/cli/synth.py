"""``arbex synth``: a data set of procedural faces."""

from __future__ import annotations

from pathlib import Path

import click

from arbex.cli.console import Console, debug_option
from arbex.cli.parameters import PATH


@click.command()
@click.argument("out", type=PATH)
@click.option("--images", type=int, default=4000, show_default=True, help="Number of images.")
@click.option("--subjects", type=int, default=40, show_default=True, help="Number of people.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed; it determines every image, on any machine.")
@click.option("--image-size", type=int, default=128, show_default=True, help="Side of an image in pixels.")
@click.option(
    "--imbalance", type=float, default=1.0, show_default=True, help="Ratio of the most frequent to the rarest class."
)
@click.option(
    "--label-noise", type=float, default=0.0, show_default=True, help="Share of wrong labels in the training split."
)
@click.option("--ambiguity", type=float, default=0.1, show_default=True, help="Share of mixed expressions.")
@click.option("--eighth", type=click.Choice(["contempt", "other"]), help="Add an eighth class.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes.  [default: one per core]")
@debug_option
def synth(
    out: Path,
    images: int,
    subjects: int,
    seed: int,
    image_size: int,
    imbalance: float,
    label_noise: float,
    ambiguity: float,
    eighth: str | None,
    workers: int | None,
) -> None:
    """Draw a labeled data set of procedural faces into OUT.

    Writes OUT/{train,val,test}/CLASS/*.png, OUT/labels.csv with the annotators' votes, OUT/classes.txt and
    OUT/contact_sheet.png. Each person is in one split only.
    """
    from arbex.spec import EXPRESSIONS
    from arbex.synth import SynthConfig, write_dataset

    classes = EXPRESSIONS + ((eighth,) if eighth else ())
    config = SynthConfig(
        images=images,
        subjects=subjects,
        seed=seed,
        image_size=image_size,
        imbalance=imbalance,
        label_noise=label_noise,
        ambiguity=ambiguity,
        classes=classes,
    )
    console = Console()
    with console.bar("drawing faces", images) as step:
        counts = write_dataset(config, out, workers=workers, progress=step)
    click.echo(f"{out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()))
    console.line(f"Look at {out / 'contact_sheet.png'}. Next: arbex train --data {out}")
