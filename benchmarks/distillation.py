"""The gain of distillation: the same small student with and without a teacher, over several seeds.

    python -m benchmarks.distillation --data faces --out runs/distillation

Trains a teacher of preset ``tiny`` for many epochs, then students for the usual few epochs of the preset, and prints
the accuracy of each on the test split. A teacher or student that is already in ``--out`` is not trained again.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from arbex.cli.console import Console
from arbex.evaluation import Scores, evaluate
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train


def trained(data: str, out: Path, assignments: list[str], teacher: Path | None = None) -> Scores:
    """Trains a run unless it exists already, and returns its scores on the test split."""
    if not (out / "metrics.jsonl").is_file():
        settings = override(PRESET_SETTINGS["tiny"], assignments)
        request = TrainRequest(data=data, out=out, preset="tiny", method="arbex", settings=settings, teacher=teacher)
        train(request, report=Console())
    return evaluate(str(out), data).corrected


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teacher-epochs", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], help="Setting of the students, NAME=VALUE; repeatable.")
    arguments = parser.parse_args()
    teacher = arguments.out / "teacher"
    best = trained(arguments.data, teacher, [f"epochs={arguments.teacher_epochs}"])
    figures: dict[str, list[Scores]] = {"alone": [], "with teacher": []}
    for seed in range(arguments.seeds):
        for name, given in (("alone", None), ("with teacher", teacher)):
            out = arguments.out / f"{name.replace(' ', '-')}-{seed}"
            settings = [f"seed={seed}", *arguments.set]
            figures[name].append(trained(arguments.data, out, settings, given))
    print(f"teacher: accuracy {best.accuracy:.3f}, nll {best.nll:.3f}\n")
    print("| student | accuracy by seed | mean | nll, mean |\n|---|---|---|---|")
    for name, rows in figures.items():
        accuracies = [row.accuracy for row in rows]
        by_seed = ", ".join(f"{a:.3f}" for a in accuracies)
        nll = statistics.mean(row.nll for row in rows)
        print(f"| {name} | {by_seed} | {statistics.mean(accuracies):.3f} | {nll:.3f} |")


if __name__ == "__main__":
    main()
