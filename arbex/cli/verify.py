"""``arbex verify``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from arbex.cli.console import Console, backbone_option, debug_option, json_option, print_json, print_table
from arbex.cli.parameters import PATH, SOURCE

if TYPE_CHECKING:
    from arbex.models import ExpressionClassifier
    from runtimes.bundle import Bundle
    from runtimes.verification import TestImages


class Reference(NamedTuple):
    """The run to compare with, where the user names it, and the code of its backbone."""

    run: Path | None
    backbone: str | None


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=PATH)
@click.option("--data", type=SOURCE, help="Images to compare on: PATH or LAYOUT:PATH, or any folder of cropped faces.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images, evenly chosen.")
@click.option("--max-kl", type=click.FloatRange(min=0), help="Limit of the mean KL on --data.  [default: the bundle's]")
@click.option("--min-agreement", type=click.FloatRange(0, 1), help="Limit of top-1 there.  [default: the bundle's]")
@click.option(
    "--reference",
    type=PATH,
    help="The run to compare with.  [default: the one exported]",
)
@click.option(
    "--report",
    "report_file",
    type=PATH,
    help="Also write FILE.html, .md or .xml (JUnit).",
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
    reference: Path | None,
    backbone: str | None,
    report_file: Path | None,
    as_json: bool,
) -> int:
    """Check BUNDLES: every byte, the golden vectors, and the distributions on --data.

    Exits with 1 if a check does not hold. On images unlike the training data a model is unsure, and small
    differences turn close calls: there, judge by the distributions (--max-kl) rather than by --min-agreement.
    """
    from arbex.errors import BundleError
    from runtimes.bundle import open_bundle
    from runtimes.reports import check_suffix, write_report
    from runtimes.vendor_output import hidden_output
    from runtimes.verification import Known, broken_bundle, verify_bundle

    if report_file:
        check_suffix(report_file)
    console = Console()
    results: list[dict[str, Any]] = []
    known: dict[tuple[str, int], TestImages] = {}  # bundles of one run share PyTorch's answers
    reports: dict[tuple[str, int, str], Known] = {}  # and what their common files answer
    for path in bundles:
        try:
            bundle = open_bundle(path)
        except BundleError as error:
            if not path.is_dir():
                raise
            results.append(broken_bundle(str(path), error))
            continue
        extra = []
        key = bundle.manifest.provenance["checkpoint"], bundle.side
        if data:
            if key not in known:
                known[key] = test_images(bundle, data, split, limit, Reference(reference, backbone), console)
            extra.append(replace(known[key], max_kl=max_kl, min_agreement=min_agreement))
        with hidden_output():
            golden = bundle.manifest.files.get("golden.npz")
            shared = reports.setdefault((*key, golden.sha256 if golden else str(path)), {})
            results.append(verify_bundle(bundle, extra, shared).to_json())
    outcome = {"passed": all(r["passed"] for r in results), "bundles": results}
    if report_file:
        write_report(report_file, outcome)
        console.line(f"report: {report_file}")
    if as_json:
        print_json(outcome)
    else:
        print_reports(results)
    return 0 if outcome["passed"] else 1


def test_images(
    bundle: Bundle, data: str, split: str, limit: int | None, reference: Reference, console: Console
) -> TestImages:
    """Reads images, and asks PyTorch for its answers.

    Any folder will do: images need no classes to be compared on. The other layouts have them.
    """
    import numpy as np

    from arbex.data.layouts import parse_source
    from runtimes.base import Prediction
    from runtimes.preprocessing import load
    from runtimes.testimages import read_images
    from runtimes.verification import TestImages

    model = reference_model(bundle, reference)
    if parse_source(data)[0] == "folder":
        files, labels = read_images(data, split, bundle.labels, limit)
        pixels = np.stack([load(file, bundle.side) for file in files])
    else:
        from arbex.data.loading import read_pixels

        pixels, labels = read_pixels(data, split, bundle.labels, bundle.side, limit=limit)
    from arbex.reference import answer

    return TestImages(pixels, Prediction(*answer(model, pixels, report=console)), labels)


test_images.__test__ = False  # type: ignore[attr-defined]  # not a test case, whatever its name suggests


def reference_model(bundle: Bundle, reference: Reference) -> ExpressionClassifier:
    """Returns the PyTorch model that a bundle was exported from.

    Raises:
        MissingPackageError: If PyTorch is not installed.
        RunError: If the run is not there, or holds other weights now.
    """
    from arbex.errors import MissingPackageError, RunError

    origin = bundle.manifest.provenance
    run = reference.run or Path(os.path.relpath(bundle.path / origin["run"]))
    try:
        from arbex.checkpoint import load_run, open_run
    except ImportError as error:
        raise MissingPackageError(error.name or "torch", "comparing with PyTorch on --data", extra="train") from error
    if not reference.run and not run.is_dir():
        raise RunError(
            f"{bundle.path} was exported from {run}, which is not here.",
            remedy="Give the run with --reference RUN, or leave --data out to check the golden vectors only.",
        )
    if open_run(run).digest != origin["checkpoint"]:
        raise RunError(
            f"{bundle.path} was not exported from the weights that are in {run} now.",
            remedy="Give the run it came from with --reference RUN, or export again.",
        )
    return load_run(run, backbone=reference.backbone)


def figure(value: float | None, form: str) -> str:
    """Formats a figure, or shows that there is none."""
    return "-" if value is None else format(value, form)


def print_reports(results: list[dict[str, Any]]) -> None:
    """Prints a row an artifact, and below what failed or was not executed."""
    rows, notes = [], []
    for bundle in results:
        name = Path(bundle["bundle"]).name
        if bundle.get("why"):
            rows.append([name, "-", "-", "FAILED", "-", "-", "-", "-"])
            notes.append(f"{name}: {bundle['why']}")
        for a in bundle["artifacts"]:
            state = ("ok" if a["executed"] else "not run") if a["passed"] else "FAILED"
            agreement = figure(a["top1_agreement"], ".2%")
            rows.append(
                [
                    name,
                    a["artifact"],
                    a["runtime"],
                    state,
                    str(a["samples"]) if a["executed"] else "-",
                    figure(a["max_abs_error"], ".1e"),
                    figure(a["mean_kl"], ".1e"),
                    agreement,
                ]
            )
            if a["why"]:
                notes.append(f"{name}/{a['artifact']}: {a['why']}")
    print_table(("bundle", "artifact", "runtime", "parity", "images", "max error", "mean KL", "agreement"), rows)
    for note in dict.fromkeys(notes):
        click.echo(f"  {note}")
