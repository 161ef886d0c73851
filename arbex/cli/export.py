"""``arbex export`` and ``arbex calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbex.cli.console import Console, backbone_option, debug_option

if TYPE_CHECKING:
    from runtimes.verification import BundleReport

SAMPLES = 256
CALIBRATORS = ("minmax",)
"""Observers on offer; while there is one, the choice needs no passing on."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    help="jetson, iphone, android, rtx, cpu or all; repeatable.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where the bundles go.  [default: bundles]")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="fp32, fp16 or int8; repeatable.  [default: the target's]",
)
@click.option("--calibration", metavar="DATA|FILE", help="Images or a table for int8.  [default: the run's data]")
@click.option("--calibrator", type=click.Choice(CALIBRATORS), default="minmax", show_default=True)
@click.option(
    "--samples", type=click.IntRange(min=1), default=SAMPLES, show_default=True, help="Images that calibrate."
)
@click.option("--max-kl", type=click.FloatRange(min=0), help="Gate: mean KL of int8 on the calibration images.")
@click.option("--min-agreement", type=click.FloatRange(0, 1), help="Gate: top-1 agreement of int8 there.")
@click.option(
    "--builder",
    type=click.Choice(["onnx", "torch-tensorrt"]),
    default="onnx",
    show_default=True,
    help="For jetson: ONNX, or an engine for this machine's GPU as well.",
)
@click.option("--allow-untrained", is_flag=True, help="Export random weights.")
@click.option("--archive", is_flag=True, help="Also write each bundle as one .zip file.")
@backbone_option
@debug_option
def export(
    run: Path | None,
    targets: tuple[str, ...],
    out: Path | None,
    precisions: tuple[str, ...],
    calibration: str | None,
    calibrator: str,
    samples: int,
    max_kl: float | None,
    min_agreement: float | None,
    builder: str,
    allow_untrained: bool,
    archive: bool,
    backbone: str | None,
) -> None:
    """Turn RUN into a bundle for each target.

    RUN defaults to the newest run under runs/. Every bundle is checked against PyTorch before it is kept.
    """
    from export.targets import choose_precisions, choose_targets

    console = Console()
    chosen = choose_targets(targets)
    for target in chosen:
        taken = choose_precisions(target, precisions)
        if not precisions:
            console.line(f"{target.name}: {' and '.join(taken)} (--precision)")
    if out is None:
        out = Path("bundles")
        console.line(f"writing to {out}/ (--out)")
    from runtimes.vendor_output import hidden_output

    console.line("loading torch and the converters")
    with hidden_output():
        from arbex.checkpoint import newest_run
        from export.pipeline import ExportRequest
        from export.pipeline import export as export_run

    if run is None:
        run = newest_run()
        console.line(f"exporting {run} (RUN)")
    request = ExportRequest(
        run,
        targets,
        out,
        precisions,
        calibration,
        samples,
        max_kl,
        min_agreement,
        allow_untrained,
        builder,
        archive,
        backbone,
    )
    show(export_run(request, report=console))
    console.line(f"Next: arbex verify {out}/{chosen[0].name} --data IMAGES, arbex bench {out}/{chosen[0].name}")


def show(reports: list[BundleReport]) -> None:
    """Prints what was written and how it compares on the golden vectors."""
    from arbex.cli.verify import print_reports

    print_reports([report.to_json() for report in reports])


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Data set: PATH or LAYOUT:PATH; its validation split calibrates.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The table to write (.json).")
@click.option("--samples", type=click.IntRange(min=1), default=SAMPLES, show_default=True)
@click.option("--calibrator", type=click.Choice(CALIBRATORS), default="minmax", show_default=True)
@backbone_option
@debug_option
def calibrate(run: Path, data: str, out: Path, samples: int, calibrator: str, backbone: str | None) -> None:
    """Write a calibration table of RUN, reusable with export --calibration FILE."""
    from runtimes.vendor_output import hidden_output

    console = Console()
    console.line("loading torch")
    with hidden_output():
        from export.pipeline import write_calibration

    table = write_calibration(run, data, out, samples=samples, backbone=backbone, report=console)
    click.echo(f"{out}: {len(table.ranges)} tensors over {table.images} images, digest {table.digest[:12]}")
    console.line(f"Next: arbex export {run} --target all --precision int8 --calibration {out}")
