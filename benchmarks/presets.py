"""The small presets beside plain networks of as many multiply-adds, all trained in the same way on the same images.

    python -m benchmarks.presets --data fer2013:PATH --network tiny --network plain-tiny --out runs/presets

Every network sees the images at 48 pixels, with the same number of epochs, augmentation, schedule, smoothing, batch
size and learning rate. The best epoch is chosen on validation. Trainings that are already in ``--out`` are not
repeated, and interrupted ones go on. Figures of the test split are printed with ``--test`` only: choose on validation,
look at them once.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from arbex import api
from arbex.checkpoint import METRICS, RESUME, load_run
from arbex.cli.console import Console, print_table
from arbex.experiments.statistics import PERCENT, estimate
from arbex.models.cost import measure_cost
from benchmarks.encoder_variants import VARIANTS
from benchmarks.networks import NETWORKS

SIDE: Final = 48
"""Side of the input in pixels, that of FER2013's images."""

COMMON: Final = (
    *("schedule=one-cycle", "sampling=natural", "batch_size=64", "label_smoothing=0.05", "weight_decay=0.01"),
    *("augmentation=light", "soft_targets=false", "channels_last=true", "precision=32-true"),
    *("dropout=0.1", "lambda_parts=0.5"),
)
"""What is the same for all networks, whatever the defaults of a preset are."""

RATES: Final = {"adamw": 4e-3, "muon": 1e-2}
"""Learning rate of each optimizer, for all networks."""


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
        network: Name of a preset, or of a network or variant under ``benchmarks/``.
        method: Name of the training method.
        optimizer: Name of the optimizer.
        seed: Seed of the training.
        epochs: Number of times that every image is seen.
        settings: Further settings, as ``name=value``.
    """

    network: str
    method: str
    optimizer: str
    seed: int
    epochs: int
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its folder."""
        words = (self.network, self.method, self.optimizer, *self.settings, f"{self.epochs}-epochs", f"{self.seed}")
        return "-".join(words).replace("=", "-")

    @property
    def backbone(self) -> str | None:
        """Name of the backbone, unless the network is a preset."""
        if self.network in NETWORKS:
            return f"benchmarks.networks:{self.network.replace('-', '_')}"
        return f"benchmarks.encoder_variants:{self.network.replace('-', '_')}" if self.network in VARIANTS else None


def read_epochs(run: Path) -> list[dict[str, Any]]:
    """Returns what a run recorded of each epoch."""
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


def train(data: str, out: Path, training: Training, **more: Any) -> dict[str, Any]:
    """Trains a network, unless ``out`` holds it, and returns its figures on validation and its cost.

    Args:
        data: Data set.
        out: Folder of the runs.
        training: What is trained.
        more: Further arguments of :func:`arbex.api.train`; ``out`` must hold no runs with others.
    """
    run, backbone = out / training.name, training.backbone
    measured = run / "measured.json"
    if measured.is_file():
        return {**vars(training), **json.loads(measured.read_text())}
    api.train(
        data,
        out=run,
        preset=None if backbone else training.network,
        backbone=backbone,
        method=training.method,
        epochs=training.epochs,
        image_size=SIDE,
        seed=training.seed,
        **more,
        resume=(run / RESUME).is_file(),
        settings=(
            *COMMON,
            f"optimizer={training.optimizer}",
            f"learning_rate={RATES[training.optimizer]}",
            *training.settings,
        ),
        report=Console(),
    )
    cost = measure_cost(load_run(run, backbone=backbone))
    found = {
        "val": api.evaluate(run, data, split="val", backbone=backbone).corrected.accuracy,
        "macs": cost.macs,
        "parameters": cost.parameters,
        "seconds": sum(epoch["seconds"] for epoch in read_epochs(run)),
    }
    measured.write_text(json.dumps(found))
    return {**vars(training), **found}


def test(data: str, out: Path, training: Training) -> dict[str, Any]:
    """Returns the figures of a training on the test split, with and without mirror images."""
    run, backbone = out / training.name, training.backbone
    measured = run / "tested.json"
    if not measured.is_file():
        found = {
            name: api.evaluate(run, data, backbone=backbone, mirrored=mirrored).corrected.accuracy
            for name, mirrored in (("test", False), ("mirrored", True))
        }
        measured.write_text(json.dumps(found))
    answer: dict[str, Any] = json.loads(measured.read_text())
    return answer


def percent(values: Sequence[float]) -> str:
    """Returns the mean of accuracies in percent, and half of its 95 % interval, if there are several."""
    return estimate(values).text(scale=PERCENT, digits=1)


@click.command(help=__doc__)
@click.option("--data", required=True, help="PATH or LAYOUT:PATH.")
@click.option("--network", "networks", multiple=True, required=True, help="Preset, network or variant; repeatable.")
@click.option("--method", "methods", multiple=True, default=("poster",), show_default=True)
@click.option("--optimizer", "optimizers", multiple=True, default=("muon",), show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--first-seed", default=0, show_default=True)
@click.option("--epochs", default=5, show_default=True, help="5 epochs of FER2013 are 143,545 images.")
@click.option("--set", "settings", multiple=True, help="Setting, NAME=VALUE; repeatable.")
@click.option("--init", multiple=True, help="Run to start from; give --out a folder of its own.")
@click.option(
    "--teacher", type=click.Path(path_type=Path), help="Run that teaches them; give --out a folder of its own."
)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--test", "tested", is_flag=True, help="Print figures of the test split, too.")
def main(
    data: str,
    networks: tuple[str, ...],
    methods: tuple[str, ...],
    optimizers: tuple[str, ...],
    seeds: int,
    first_seed: int,
    epochs: int,
    settings: tuple[str, ...],
    init: tuple[str, ...],
    teacher: Path | None,
    out: Path,
    tested: bool,
) -> None:
    """Trains what is missing and prints the table."""
    rows = []
    for network in networks:
        for method in methods:
            for optimizer in optimizers:
                trainings = [
                    Training(network, method, optimizer, seed, epochs, settings)
                    for seed in range(first_seed, first_seed + seeds)
                ]
                found = [train(data, out, training, init=init, teacher=teacher) for training in trainings]
                row = [
                    network,
                    method,
                    optimizer,
                    f"{found[0]['macs'] / 1e6:.1f}",
                    f"{found[0]['parameters'] / 1e6:.2f}",
                    f"{statistics.mean(each['seconds'] for each in found) / 60:.0f}",
                    percent([each["val"] for each in found]),
                ]
                if tested:
                    answers = [test(data, out, training) for training in trainings]
                    row += [percent([each[name] for each in answers]) for name in ("test", "mirrored")]
                rows.append(row)
    columns = ["network", "method", "optimizer", "MMAC", "M parameters", "minutes", "val %"]
    print_table(tuple(columns + (["test %", "mirrored %"] if tested else [])), rows)


if __name__ == "__main__":
    main()
