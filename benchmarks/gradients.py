"""Where a gradient arrives: its norm in each part of a network, at the start of training and after an epoch.

    python -m benchmarks.gradients --data fer2013:PATH --network tiny --network before --network plain-tiny

Trains as :mod:`benchmarks.presets` does, for one epoch. Each norm is divided by that of the part's weights and is a
median over steps, so that parts of different sizes can be compared: AdamW changes all weights alike whatever their
gradient, but a part whose gradient is small learns mostly from noise.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
from torch import Tensor, nn

from arbex.cli.console import print_table
from arbex.models import ExpressionClassifier
from arbex.models.custom import PRESET
from arbex.progress import SILENT
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest, make_config
from arbex.training.devices import make_fabric
from arbex.training.loop import load_images
from arbex.training.trainer import Trainer
from benchmarks.networks import SIDE
from benchmarks.presets import COMMON, RATES, Training

WATCHED: Final = 40
"""Number of steps over which the median is taken."""


def make_trainer(data: str, out: Path, training: Training) -> Trainer:
    """Returns the trainer of a training, before its first step."""
    assignments = (*COMMON, f"optimizer={training.optimizer}", f"learning_rate={RATES[training.optimizer]}")
    request = TrainRequest(
        data=data,
        out=out,
        preset=PRESET if training.backbone else training.network,
        method=training.method,
        settings=override(PRESET_SETTINGS["tiny"], [*assignments, *training.settings, f"epochs={training.epochs}"]),
        image_size=SIDE,
        backbone=training.backbone,
    )
    images, validation, found = load_images(request, SILENT)
    config = make_config(request, found, {}, landmarks=False)
    return Trainer(make_fabric(None, request.settings.precision), config, images, validation, backbone=request.backbone)


def parts(model: ExpressionClassifier) -> dict[str, nn.Module]:
    """Returns the parts of a model by name: the stages of its encoder's streams, and its head."""
    found: dict[str, nn.Module] = {}
    for name, child in model.encoder.named_children():
        stages = child.named_children() if isinstance(child, nn.ModuleList) else [("", child)]
        found |= {f"{name} {stage}".strip(): module for stage, module in stages}
    return {name: part for name, part in {**found, "head": model.head}.items() if any(True for _ in part.parameters())}


def norm(tensors: Iterable[Tensor | None]) -> float:
    """Returns the norm of all tensors together."""
    squares = [float(tensor.detach().square().sum()) for tensor in tensors if tensor is not None]
    return float(sum(squares) ** 0.5)


def ratios(model: ExpressionClassifier) -> dict[str, float]:
    """Returns for each part of a model the ratio of the norms of its gradient and its weights."""
    weights = {name: list(part.parameters()) for name, part in parts(model).items()}
    return {name: norm(weight.grad for weight in own) / norm(own) for name, own in weights.items()}


def medians(steps: list[dict[str, float]]) -> dict[str, float]:
    """Returns the median of each part over steps."""
    return {name: statistics.median(step[name] for step in steps) for name in steps[0]}


def watch_epoch(trainer: Trainer) -> list[dict[str, float]]:
    """Trains an epoch, and returns the ratios after each of its first and last steps."""
    steps, found = len(trainer.loader), []

    def look(done: int) -> None:
        if done <= WATCHED or done > steps - WATCHED:
            found.append(ratios(trainer.raw))

    trainer.epoch(1, look)
    return found


@click.command(help=__doc__)
@click.option("--data", required=True, help="PATH or LAYOUT:PATH.")
@click.option("--network", "networks", multiple=True, required=True, help="Preset, network or variant; repeatable.")
@click.option("--method", default="arbex", show_default=True)
@click.option("--optimizer", default="adamw", show_default=True)
def main(data: str, networks: tuple[str, ...], method: str, optimizer: str) -> None:
    """Prints a table per network."""
    for network in networks:
        with tempfile.TemporaryDirectory() as name:
            trainer = make_trainer(data, Path(name), Training(network, method, optimizer, seed=0, epochs=5))
        found = watch_epoch(trainer)
        first, last = medians(found[:WATCHED]), medians(found[-WATCHED:])
        print_table(
            (network, "first steps", "after an epoch"), [[n, f"{first[n]:.1e}", f"{last[n]:.1e}"] for n in first]
        )
        click.echo()


if __name__ == "__main__":
    main()
