"""The gain of distillation: the same small student with and without a teacher, over several seeds.

    python -m benchmarks.distillation --data fer2013:PATH --network mobile --teacher RUN --out runs/presets

Trains as :mod:`benchmarks.presets` does, whose runs it shares. Without ``--teacher``, the teacher is the student's
network, trained for ``--teacher-epochs``. Settings ``distil_…`` are given to students with a teacher only. The teacher
has seen the same labels as the students, wrong ones included.
"""

from __future__ import annotations

from pathlib import Path

import click

from arbex.checkpoint import open_run
from arbex.cli.console import print_table
from arbex.training.arguments import TEACHING
from benchmarks.presets import Training, percent, test, train

TAUGHT = "taught"
"""Subfolder of the students that have a teacher; each teacher has a folder of its own there."""

DIGITS = 8
"""Number of digits of a teacher's digest in the name of that folder."""


def row(words: str, data: str, out: Path, trainings: list[Training], teacher: Path | None = None) -> list[str]:
    """Trains what is missing and returns a row of the table."""
    found = [train(data, out, training, teacher=teacher) for training in trainings]
    answers = [test(data, out, training) for training in trainings]
    return [words, percent([each["val"] for each in found]), percent([each["test"] for each in answers])]


@click.command(help=__doc__)
@click.option("--data", required=True, help="PATH or LAYOUT:PATH.")
@click.option("--network", default="tiny", show_default=True, help="Preset, network or variant of the students.")
@click.option("--teacher", type=click.Path(path_type=Path), help="Run that teaches them.")
@click.option("--teacher-epochs", default=20, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--epochs", default=5, show_default=True, help="Epochs of the students.")
@click.option("--set", "settings", multiple=True, help="Setting, NAME=VALUE; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    data: str,
    network: str,
    teacher: Path | None,
    teacher_epochs: int,
    seeds: int,
    epochs: int,
    settings: tuple[str, ...],
    out: Path,
) -> None:
    """Trains what is missing and prints the table."""
    rows = []
    others = tuple(text for text in settings if not text.startswith(TEACHING))
    if teacher is None:
        longer = Training(network, "arbex", "muon", 0, teacher_epochs, others)
        rows.append(row("the teacher", data, out, [longer]))
        teacher = out / longer.name
    alone = [Training(network, "arbex", "muon", seed, epochs, others) for seed in range(seeds)]
    rows.append(row("alone", data, out, alone))
    folder = out / TAUGHT / f"{teacher.name}-{open_run(teacher).digest[:DIGITS]}"
    taught = [Training(network, "arbex", "muon", seed, epochs, settings) for seed in range(seeds)]
    rows.append(row("with teacher", data, folder, taught, teacher))
    print_table((network, "val %", "test %"), rows)


if __name__ == "__main__":
    main()
