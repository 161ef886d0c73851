"""``arbex bench``: latency, memory and size of artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbex.cli.console import Console, debug_option, json_option, print_json, print_table, size
from arbex.cli.parameters import PATH

if TYPE_CHECKING:
    from runtimes.benchmark import Timing

COLUMNS = ("bundle", "artifact", "runtime", "p50 ms", "p95 ms", "images/s", "size", "peak memory")


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=PATH)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Number of threads.")
@json_option
@debug_option
def bench(bundles: tuple[Path, ...], threads: int, as_json: bool) -> None:
    """Measure every artifact of BUNDLES that runs on this machine, at batch 1, each in its own process."""
    from arbex.api import bench as time_bundle
    from arbex.api import open_bundle

    console = Console()
    rows: list[Timing] = []
    opened = [open_bundle(path) for path in bundles]
    for bundle in opened:
        console.line(f"timing {bundle.path}")
        with console.doing(f"timing {bundle.path}"):
            rows += time_bundle(bundle, threads=threads)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    print_table(COLUMNS, [cells(row) for row in rows])
    missing = len({str(b.path) for b in opened} - {row.bundle for row in rows})
    if missing:
        click.echo(f"{missing} of {len(opened)} bundles have no artifact that runs on this machine.")


def cells(row: Timing) -> list[str]:
    """Returns the cells of a row, formatted."""
    name, f = Path(row.bundle).name, row.figures
    if f is None:
        return [name, row.artifact, "none", "-", "-", "-", size(row.size_bytes), row.why]
    times = [f"{f.p50_ms:.2f}", f"{f.p95_ms:.2f}", f"{f.images_per_s:.0f}"]
    return [name, row.artifact, f.runtime, *times, size(row.size_bytes), size(f.peak_rss_bytes)]
