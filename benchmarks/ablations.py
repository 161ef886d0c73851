"""From preset ``tiny`` to a plain network and back to POSTER++ in small, one change at a time.

    python -m benchmarks.ablations --data fer2013:PATH --out runs/presets

Trains as :mod:`benchmarks.presets` does, whose runs it shares, and prints the multiply-adds of each change, its
accuracy on validation, and how far that is from the one of ``tiny``. The test split is not looked at. ``--curves``
draws accuracy over epochs.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Final, NamedTuple

import click

from arbex.cli.console import print_table
from arbex.experiments.plots import lines
from arbex.experiments.statistics import Estimate, estimate
from benchmarks.presets import Training, read_epochs, train


class Change(NamedTuple):
    """One thing that differs from ``tiny`` with method ``arbex``.

    Attributes:
        words: What it is.
        network: Name of a preset, or of a network or variant under ``benchmarks/``.
        method: Name of the training method.
        optimizer: Name of the optimizer.
        settings: Further settings, as ``name=value``.
    """

    words: str
    network: str = "tiny"
    method: str = "arbex"
    optimizer: str = "muon"
    settings: tuple[str, ...] = ()

    def trainings(self, seeds: int, epochs: int) -> list[Training]:
        """Returns one training per seed."""
        return [
            Training(self.network, self.method, self.optimizer, seed, epochs, self.settings) for seed in range(seeds)
        ]


PER_CLASS: Final = "images_per_class=4101"
"""Quota with which an epoch of seven classes shows as many images as FER2013 has."""

EARLIER: Final = ("encoder_gradient=anchors", "lambda_tokens=1")
"""Losses of the small presets in arbex 0.1."""

CHANGES: Final = (
    Change("`tiny`, as it is"),
    Change("**Encoder**: image stream alone", network="without-attention"),
    Change("self-attention, no landmark stream", network="self-attention"),
    Change("attention at full weight from the start", network="full-attention"),
    Change("strides in place of max-pools", network="strides"),
    Change("the plain network", network="plain-tiny"),
    Change("POSTER++ in small", network="before"),
    Change("**Head**: linear", method="poster"),
    Change("linear, plain network", network="plain-tiny", method="poster"),
    Change("linear, POSTER++ in small", network="before", method="poster"),
    Change("no losses of the parts", settings=("lambda_parts=0",)),
    Change("anchors alone train the encoder", settings=("encoder_gradient=anchors",)),
    Change("token loss", settings=("lambda_tokens=1",)),
    Change("anchors alone, token loss, POSTER++ in small", network="before", settings=EARLIER),
    Change("**Optimizer**: AdamW", optimizer="adamw"),
    Change("AdamW, plain network, linear", network="plain-tiny", method="poster", optimizer="adamw"),
    Change("AdamW, POSTER++ in small", network="before", optimizer="adamw"),
    Change("cosine schedule", settings=("schedule=cosine",)),
    Change("batches of 128", settings=("batch_size=128",)),
    Change("**Images**: as many of every class", settings=("sampling=quota", PER_CLASS)),
    Change("in proportion to square roots", settings=("sampling=square-root",)),
    Change("heavy augmentation", settings=("augmentation=heavy",)),
    Change("no augmentation", settings=("augmentation=none",)),
    Change("no label smoothing", settings=("label_smoothing=0",)),
    Change(
        "**All** that arbex 0.1 did",
        network="before",
        optimizer="adamw",
        settings=(*EARLIER, "sampling=quota", PER_CLASS, "augmentation=heavy"),
    ),
)
"""What is compared, in the order of the table."""


CURVES: Final = (
    "`tiny`, as it is",
    "the plain network",
    "POSTER++ in small",
    "AdamW, POSTER++ in small",
    "**All** that arbex 0.1 did",
)
"""Changes whose learning curves are drawn."""


def curve(out: Path, trainings: list[Training]) -> list[Estimate]:
    """Returns the accuracy on validation after each epoch."""
    runs = [read_epochs(out / training.name) for training in trainings]
    return [estimate([epoch["val_accuracy"] for epoch in epochs]) for epochs in zip(*runs, strict=True)]


@click.command(help=__doc__)
@click.option("--data", required=True, help="PATH or LAYOUT:PATH.")
@click.option("--seeds", default=2, show_default=True)
@click.option("--epochs", default=5, show_default=True, help="5 epochs of FER2013 are 143,545 images.")
@click.option("--curves", type=click.Path(path_type=Path), help="PNG file of learning curves to write.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(data: str, seeds: int, epochs: int, curves: Path | None, out: Path) -> None:
    """Trains what is missing and prints the table."""
    rows, reference = [], 0.0
    trainings = {change.words: change.trainings(seeds, epochs) for change in CHANGES}
    for words, wanted in trainings.items():
        trained = [train(data, out, training) for training in wanted]
        found = [each["val"] for each in trained]
        reference = reference or statistics.mean(found)
        each, difference = ", ".join(f"{100 * value:.1f}" for value in found), statistics.mean(found) - reference
        rows.append([words, f"{trained[0]['macs'] / 1e6:.1f}", each, f"{100 * difference:+.1f}"])
    print_table(("what is changed", "MMAC", "val %, by seed", "difference"), rows)
    if curves:
        drawn = {words.replace("`", "").replace("**", ""): curve(out, trainings[words]) for words in CURVES}
        lines(curves, drawn, "epoch", "accuracy on validation")


if __name__ == "__main__":
    main()
