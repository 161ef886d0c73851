"""``arbex bench``."""

from __future__ import annotations

from pathlib import Path

import click

from arbex.cli.console import Console, debug_option, json_option, print_json, print_table, size
from arbex.cli.parameters import PATH


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=PATH)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of the runtime.")
@json_option
@debug_option
def bench(bundles: tuple[Path, ...], threads: int, as_json: bool) -> None:
    """Time every artifact of BUNDLES that runs here, at batch 1, each in a process of its own."""
    from runtimes.benchmark import benchmark
    from runtimes.bundle import open_bundle

    console = Console()
    rows = []
    opened = [open_bundle(path) for path in bundles]
    for bundle in opened:
        console.line(f"timing {bundle.path}")
        rows += benchmark(bundle, threads=threads)
    if as_json:
        print_json(rows)
        return
    cells = []
    for r in rows:
        timed = [f"{r['p50_ms']:.2f}", f"{r['p95_ms']:.2f}", f"{r['images_per_s']:.0f}"] if r["p50_ms"] else ["-"] * 3
        memory = size(r["peak_rss_bytes"]) if r["peak_rss_bytes"] else r["why"]
        cells.append([Path(r["bundle"]).name, r["artifact"], r["runtime"], *timed, size(r["size_bytes"]), memory])
    print_table(("bundle", "artifact", "runtime", "p50 ms", "p95 ms", "images/s", "size", "peak memory"), cells)
    missing = len({str(b.path) for b in opened} - {r["bundle"] for r in rows})
    if missing:
        click.echo(f"{missing} of {len(opened)} bundles hold nothing that runs here.")
