"""Training steps of the small presets beside those of plain networks of as many multiply-adds, in the same run.

    python -m benchmarks.training_steps --threads 1

A step is all that happens to a batch of images of 48 pixels, from uint8 pixels to changed weights. The yardstick is a
plain network in a loop that is written by hand: shifts and flips, cross-entropy, AdamW. Times are medians of
interleaved rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.cli.console import print_table
from arbex.models.custom import PRESET
from arbex.progress import SILENT
from arbex.settings import PRESET_SETTINGS
from arbex.synth import SynthConfig, write_dataset
from arbex.training.configuration import TrainRequest, make_config
from arbex.training.devices import make_fabric
from arbex.training.loop import load_images
from arbex.training.trainer import Trainer
from benchmarks import networks
from benchmarks.networks import SIDE
from benchmarks.training import medians

CLASSES: Final = 7


def our_step(faces: Path, batch: int, network: str, method: str, *, bf16: bool = False) -> Callable[[], object]:
    """Returns a step of the product's own training, of a preset or of a network under ``benchmarks/``."""
    preset = network in PRESET_SETTINGS
    settings = replace(
        PRESET_SETTINGS[network if preset else "tiny"],
        batch_size=batch,
        precision="bf16-mixed" if bf16 else "32-true",
    )
    request = TrainRequest(
        data=str(faces),
        out=faces / "run",
        preset=network if preset else PRESET,
        method=method,
        settings=settings,
        image_size=SIDE,
        backbone=None if preset else f"benchmarks.networks:{network.replace('-', '_')}",
    )
    images, validation, found = load_images(request, SILENT)
    fabric = make_fabric(None, settings.precision)
    config = make_config(request, found, {}, landmarks=False)
    trainer = Trainer(fabric, config, images, validation, backbone=request.backbone)
    trainer.model.train()
    given = next(iter(trainer.loader))
    pixels, targets, positions = given
    return lambda: trainer.step(pixels, targets, positions, 1)


def plain_step(faces: Path, batch: int, network: str) -> Callable[[], object]:
    """Returns a step of a loop that is written by hand."""
    backbone: nn.Module = getattr(networks, network.replace("-", "_"))()
    with torch.no_grad():
        width = backbone(torch.zeros(2, 3, SIDE, SIDE)).shape[1]
    model = nn.Sequential(backbone, nn.Dropout(0.3), nn.Linear(width, CLASSES)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    pixels = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (batch,))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def augmented() -> Tensor:
        padded = F.pad(pixels.float() / 255, (4, 4, 4, 4), mode="replicate")
        down, right = torch.randint(0, 9, (2,)).tolist()
        cut = padded[:, :, down : down + SIDE, right : right + SIDE]
        flipped = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, cut.flip(3), cut)
        return (flipped - mean[:, None, None]) / std[:, None, None]

    def step() -> None:
        loss = F.cross_entropy(model(augmented()), labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


@click.command(help=__doc__)
@click.option("--batch", default=64, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=15, show_default=True)
def main(batch: int, threads: int, rounds: int) -> None:
    """Prints a table per size of network."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        faces = Path(name)
        write_dataset(SynthConfig(images=700, subjects=14, seed=0, image_size=SIDE), faces)
        for size in ("tiny", "small", "mobile"):
            plain = f"plain-{size}"
            works = {
                f"{plain}, written by hand": plain_step(faces, batch, plain),
                f"{plain}, poster": our_step(faces, batch, plain, "poster"),
                f"{size}, poster": our_step(faces, batch, size, "poster"),
                f"{size}, arbex": our_step(faces, batch, size, "arbex"),
                f"{size}, arbex, bf16": our_step(faces, batch, size, "arbex", bf16=True),
            }
            times = medians(works, rounds, torch.device("cpu"))
            first = next(iter(times.values()))
            rows = [[work, f"{time / batch:.2f}", f"{time / first:.2f}"] for work, time in times.items()]
            print_table(("training", "ms per image", "of plain"), rows)
            click.echo()


if __name__ == "__main__":
    main()
