"""``arbex evaluate``: scores of a run on labeled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbex.cli.console import DATA_HELP, Console, backbone_option, debug_option, json_option, print_json, print_table
from arbex.cli.parameters import PATH, SOURCE

if TYPE_CHECKING:
    from arbex.evaluation.scores import Evaluation, Scores


@click.command()
@click.argument("run", type=PATH)
@click.option("--data", type=SOURCE, required=True, help=DATA_HELP)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="Split to use; all joins them, for data that the run has never seen.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="CLASS=CLASS",
    help="The run's class that one of the data stands for; CLASS=- leaves its images out; repeatable.",
)
@click.option(
    "--max-unreadable",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Share of unreadable images that may be left out.",
)
@click.option("--mirrored", is_flag=True, help="Average the answers for each image and its mirror image.")
@click.option("--plots", type=PATH, metavar="DIR", help="Draw the reliability diagram and the risk-coverage curve.")
@click.option("--by", metavar="COLUMN", help="Also measure each group of images with one value in labels.csv.")
@backbone_option
@json_option
@debug_option
def evaluate(
    run: Path,
    data: str,
    split: str,
    mapping: tuple[str, ...],
    max_unreadable: float,
    mirrored: bool,
    plots: Path | None,
    by: str | None,
    backbone: str | None,
    as_json: bool,
) -> None:
    """Measure RUN on labeled images: both distributions, overall and by class."""
    from arbex.api import evaluate as measure

    result = measure(
        run,
        data,
        split=split,
        max_unreadable=max_unreadable,
        mapping=mapping,
        mirrored=mirrored,
        plots=plots,
        by=by,
        backbone=backbone,
        report=Console(),
    )
    if as_json:
        print_json(result.to_json())
        return
    show(result)


FIGURES = (
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("macro F1", "macro_f1"),
    ("calibration error (ECE)", "ece"),
    ("  bins of equal mass", "ece_equal_mass"),
    ("negative log-likelihood", "nll"),
    ("Brier score", "brier"),
    ("confidence: AUROC", "auroc"),
    ("  risk over coverage", "aurc"),
    ("  accuracy of best 90 %", "accuracy_at_90"),
    ("  accuracy of best 70 %", "accuracy_at_70"),
)
"""How the figures of a distribution are shown, and their names."""


def show(result: Evaluation) -> None:
    """Prints the figures as tables."""
    click.echo(f"{result.n} images")
    corrected, primary = result.corrected, result.primary
    rows = [[shown, *with_interval(corrected, name), *with_interval(primary, name)] for shown, name in FIGURES]
    rows.append(["standard deviation", f"{result.std_corrected:.4f}", "", f"{result.std_primary:.4f}", ""])
    print_table(("", "corrected", "95 % interval", "primary", "95 % interval"), rows)
    if result.threshold is not None:
        accuracy = "" if result.accuracy_of_sure is None else f", of which {result.accuracy_of_sure:.1%} are right"
        click.echo(f"\nconfident enough (at least {result.threshold:.3f}): {result.coverage:.1%} of answers{accuracy}")
    click.echo()
    by_class = [
        [name, *(f"{value:.3f}" if one.n else "-" for value in (one.precision, one.recall, one.f1)), str(one.n)]
        for name, one in corrected.per_class.items()
    ]
    print_table(("class", "precision", "recall", "f1", "images"), by_class)
    show_groups(result)
    click.echo("\nnumber of images by class (rows) and answer (columns)")
    classes = list(corrected.per_class)
    counts = [[name, *map(str, row)] for name, row in zip(classes, corrected.confusion, strict=True)]
    print_table(("", *classes), counts)


def show_groups(result: Evaluation) -> None:
    """Prints the figures of each group of images, the worst first."""
    worst = result.worst_group
    if worst is None:
        return
    rows = [
        [
            name,
            f"{one.accuracy:.4f}",
            interval(one.accuracy_ci95),
            f"{one.balanced_accuracy:.4f}",
            f"{one.ece:.4f}",
            f"{one.n}",
        ]
        for name, one in sorted(result.groups.items(), key=lambda item: item[1].accuracy)
    ]
    click.echo()
    print_table(("group", "accuracy", "95 % interval", "balanced", "ECE", "images"), rows)
    click.echo(f"worst: {worst.name}; the lowest accuracy of a group is {worst.accuracy:.4f} ({interval(worst.ci95)})")


def interval(ends: tuple[float, float]) -> str:
    """Returns an interval as it is shown."""
    return f"{ends[0]:.4f} to {ends[1]:.4f}"


def with_interval(scores: Scores, name: str) -> list[str]:
    """Returns a figure and its interval as they are shown."""
    value, ends = getattr(scores, name), scores.ci95.get(name)
    return ["-" if value is None else f"{value:.4f}", "" if ends is None else interval(ends)]
