"""``arbex export`` and ``arbex calibrate``: from a run to bundles, and to a calibration table."""

from __future__ import annotations

from pathlib import Path

import click

from arbex.cli.console import DATA_HELP, Console, backbone_option, debug_option
from arbex.cli.parameters import PATH, SOURCE, ListingOption
from arbex.cli.verify import print_reports

SAMPLES = 256
CALIBRATORS = ("auto", "minmax", "moving-average", "percentile", "mse", "entropy")
"""Names of the observers, repeated here so that the help imports nothing."""


class Shard(click.ParamType[tuple[int, int]]):
    """``I/N``: the I-th of N parts."""

    name = "I/N"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Returns both numbers."""
        if isinstance(value, tuple):
            return value
        number, slash, of = value.partition("/")
        if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
            self.fail(f"{value!r} is not a shard. Allowed: 1/N to N/N.", param, ctx)
        return int(number), int(of)


def targets_line() -> str:
    """Returns the help of ``--target``."""
    from export.registry import TARGETS

    return f"{', '.join(TARGETS)} or all; repeatable."


def builders_line() -> str:
    """Returns the help of ``--builder``."""
    from export.registry import builders

    device, *here = builders()
    return f"{device} leaves compilation to the device; {' or '.join(here)} also compiles on this machine's GPU."


@click.command()
@click.argument("run", type=PATH, required=False)
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    cls=ListingOption,
    listing=targets_line,
)
@click.option("--out", type=PATH, help="Folder of the bundles.  [default: bundles]")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="fp32, fp16 or int8; repeatable.  [default: the target's]",
)
@click.option(
    "--calibration",
    type=SOURCE,
    metavar="DATA|FILE",
    help="Calibration images, or a calibration table, for int8.  [default: the run's data]",
)
@click.option(
    "--calibrator",
    type=click.Choice(CALIBRATORS),
    help="Observer that derives the ranges; auto cuts a range only where that pays.  [default: auto, or the table's]",
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=SAMPLES, show_default=True, help="Number of calibration images."
)
@click.option(
    "--max-kl",
    type=click.FloatRange(min=0),
    help="Gate: restore operators to float until the mean KL is at most this, in nats.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="Gate: restore operators to float until the top-1 agreement is at least this.",
)
@click.option(
    "--builder",
    default="onnx",
    show_default=True,
    cls=ListingOption,
    listing=builders_line,
)
@click.option("--allow-untrained", is_flag=True, help="Export even if the weights are untrained.")
@click.option("--archive", is_flag=True, help="Also write each bundle as one .zip file.")
@backbone_option
@debug_option
def export(
    run: Path | None,
    targets: tuple[str, ...],
    out: Path | None,
    precisions: tuple[str, ...],
    calibration: str | None,
    calibrator: str | None,
    samples: int,
    max_kl: float | None,
    min_agreement: float | None,
    builder: str,
    allow_untrained: bool,
    archive: bool,
    backbone: str | None,
) -> None:
    """Turn RUN into a bundle for each target.

    RUN defaults to the newest run under runs/. Every bundle is checked against PyTorch before it is kept. In --out,
    only earlier bundles of the same targets are replaced.
    """
    from arbex.api import export as write_bundles

    console = Console()
    reports = write_bundles(
        run,
        targets,
        out=out,
        precisions=precisions,
        calibration=calibration,
        calibrator=calibrator,
        samples=samples,
        max_kl=max_kl,
        min_agreement=min_agreement,
        builder=builder,
        allow_untrained=allow_untrained,
        archive=archive,
        backbone=backbone,
        report=console,
    )
    print_reports(reports)
    first = reports[0].bundle
    console.line(f"Next: arbex verify {first} --data IMAGES, arbex bench {first}")


@click.command()
@click.argument("run", type=PATH)
@click.option("--data", type=SOURCE, required=True, help=f"{DATA_HELP} Its validation split is used.")
@click.option("--out", type=PATH, required=True, help="Calibration table to write (.json).")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=SAMPLES,
    show_default=True,
    help="Number of images over all shards.",
)
@click.option(
    "--calibrator",
    type=click.Choice(CALIBRATORS),
    default="auto",
    show_default=True,
    help="Observer that derives the ranges; auto cuts a range only where that pays.",
)
@click.option(
    "--shard", type=Shard(), default="1/1", help="Use only the I-th of N parts of the images.  [default: all]"
)
@click.option(
    "--merge",
    multiple=True,
    type=PATH,
    help="Add the table of another shard or data set; repeatable.",
)
@backbone_option
@debug_option
def calibrate(
    run: Path,
    data: str,
    out: Path,
    samples: int,
    calibrator: str,
    shard: tuple[int, int],
    merge: tuple[Path, ...],
    backbone: str | None,
) -> None:
    """Calibrate RUN and write a calibration table, for arbex export --calibration.

    --out holds the ranges. The histograms are written next to it; arbex export --calibrator derives other ranges from
    them. An existing file is replaced only if it is a calibration table.
    """
    from arbex.api import calibrate as write_table

    console = Console()
    table = write_table(
        run,
        data,
        out,
        samples=samples,
        calibrator=calibrator,
        shard=shard,
        merge=merge,
        backbone=backbone,
        report=console,
    )
    click.echo(f"{out}: {len(table.ranges)} tensors over {table.images} images, digest {table.digest[:12]}")
    console.line(f"Next: arbex export {run} --target all --precision int8 --calibration {out}")
