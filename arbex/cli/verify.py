"""``arbex verify``: check bundles against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbex.cli.console import Console, backbone_option, debug_option, json_option, print_json, print_table
from arbex.cli.parameters import PATH, SOURCE
from runtimes.emulation.processors import ALL, NATIVE, PROCESSORS

if TYPE_CHECKING:
    from runtimes.outcomes import BundleReport, Change

COLUMNS = ("bundle", "artifact", "runtime", "parity", "images", "max error", "mean KL", "agreement")
STATES = {"passed": "ok", "not executed": "not run", "undecided": "undecided", "failed": "FAILED"}


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=PATH)
@click.option("--data", type=SOURCE, help="Images to compare on: PATH or LAYOUT:PATH, or any folder of cropped faces.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Split of --data."
)
@click.option("--limit", type=click.IntRange(min=1), help="Largest number of images, chosen evenly.  [default: all]")
@click.option("--max-kl", type=click.FloatRange(min=0), help="Largest mean KL on --data.  [default: the bundle's]")
@click.option(
    "--min-agreement", type=click.FloatRange(0, 1), help="Smallest top-1 agreement on --data.  [default: the bundle's]"
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another limit on --data, such as recall_change=-0.1; none lifts it. Repeatable.",
)
@click.option("--by", metavar="COLUMN", help="Also judge each group of images, by a column of labels.csv in --data.")
@click.option(
    "--reference",
    type=PATH,
    help="Run to compare with.  [default: the exported one]",
)
@click.option(
    "--cpu",
    multiple=True,
    metavar=f"[{'|'.join((*PROCESSORS, ALL))}]",
    help="Also run ONNX and LiteRT files as this processor does; repeatable. arbex emulators sets it up.",
)
@click.option("--evaluator", is_flag=True, help="On a Mac, also compare Core ML with the evaluator of other systems.")
@click.option(
    "--explain", is_flag=True, help="Find the first operator at which an artifact that fails parts from its program."
)
@click.option(
    "--compare", type=PATH, metavar="OLD.json", help="Show what changed since an earlier run's --json output."
)
@click.option(
    "--report",
    "report_files",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Also write a report: .html, .md or .xml (JUnit); repeatable.",
)
@backbone_option
@json_option
@debug_option
def verify(
    bundles: tuple[Path, ...],
    data: str | None,
    split: str,
    limit: int | None,
    max_kl: float | None,
    min_agreement: float | None,
    thresholds: tuple[str, ...],
    by: str | None,
    reference: Path | None,
    backbone: str | None,
    cpu: tuple[str, ...],
    evaluator: bool,
    explain: bool,
    compare: Path | None,
    report_files: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Check BUNDLES: every byte, the golden vectors, and the distributions on --data.

    Exits with 1 if a check fails. On images unlike the training data, a model is unsure, and small differences flip
    close calls: judge by the distributions there (--max-kl), not by --min-agreement.
    """
    from arbex.api import verify as check
    from runtimes.reports import check_suffix, write_report

    for file in report_files:
        check_suffix(file)
    console = Console()
    outcome = check(
        bundles,
        data=data,
        split=split,
        limit=limit,
        max_kl=max_kl,
        min_agreement=min_agreement,
        thresholds=thresholds,
        by=by,
        reference=reference,
        backbone=backbone,
        cpu=cpu,
        evaluator=evaluator,
        explain=explain,
        compare=compare,
        report=console,
    )
    for file in report_files:
        write_report(file, outcome)
        console.line(f"report: {file}")
    if as_json:
        print_json(outcome.to_json())
    else:
        print_reports(outcome.bundles)
        if outcome.changes is not None:
            print_changes(outcome.changes)
    return 0 if outcome.passed else 1


def figure(value: float | None, form: str) -> str:
    """Formats a figure, or returns ``-`` if there is none."""
    return "-" if value is None else format(value, form)


def print_reports(reports: tuple[BundleReport, ...] | list[BundleReport]) -> None:
    """Prints a row per artifact, and below the table what failed or was not executed."""
    rows: list[list[str]] = []
    notes: dict[str, list[str]] = {}
    for bundle in reports:
        name = Path(bundle.bundle).name
        if bundle.why:
            rows.append([name, "-", "-", STATES["failed"], *["-"] * 4])
            notes.setdefault(bundle.why, []).append(name)
        for a in bundle.artifacts:
            parity = a.parity
            figures = ["-"] * 4
            if parity:
                figures = [
                    str(parity.samples),
                    figure(parity.max_abs_error, ".1e"),
                    figure(parity.mean_kl, ".1e"),
                    figure(parity.top1_agreement, ".2%"),
                ]
            where = a.runtime if a.cpu == NATIVE else f"{a.runtime}, {a.cpu}"
            rows.append([name, a.artifact, where, STATES[a.outcome], *figures])
            for remark in a.remarks:
                notes.setdefault(remark, []).append(f"{name}/{a.title}")
    print_table(COLUMNS, rows)
    for note, places in notes.items():
        click.echo(f"  {', '.join(dict.fromkeys(places))}: {note}")


def print_changes(changes: tuple[Change, ...]) -> None:
    """Prints a row per artifact with what it was and what it is."""
    from runtimes.reports.figures import CHANGES, change_row

    click.echo("\nSince the earlier verification:")
    print_table(CHANGES, [change_row(change) for change in changes])
