"""``arbex import-weights``: from published weights to a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbex.cli.console import Console, debug_option, json_option, print_json, print_table
from arbex.cli.parameters import PATH

if TYPE_CHECKING:
    from arbex.weights.importing import Imported

SHOWN = 2
"""Example names per row."""


@click.command("import-weights")
@click.argument("file", type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder of the run.")
@click.option("--labels", metavar="A,B,…", help="Class names in the order of the checkpoint's outputs.")
@click.option("--bgr", is_flag=True, help="FILE was trained on images with blue first, as POSTER's code on RAF-DB.")
@json_option
@debug_option
def import_weights(file: Path, out: Path, labels: str | None, bgr: bool, as_json: bool) -> None:
    """Turn the published weights in FILE into a run: POSTER++, POSTER, IR50 or MobileFaceNet.

    Nothing in FILE is executed. A backbone alone gives an untrained run; arbex train --init also reads such a FILE
    directly.
    """
    from arbex.weights import importing

    names = None if labels is None else tuple(name.strip() for name in labels.split(","))
    try:
        imported = importing.import_weights(file, out, labels=names, bgr=bgr)
    except importing.LabelsWantedError as wanted:
        if not sys.stdin.isatty() or as_json:
            raise
        likely = ",".join(importing.RAF_DB) if wanted.classes == len(importing.RAF_DB) else None
        answer = click.prompt(f"The {wanted.classes} classes in order", default=likely, err=True)
        names = tuple(name.strip() for name in answer.split(","))
        imported = importing.import_weights(file, out, labels=names, bgr=bgr)
    if as_json:
        print_json(to_json(imported))
        return
    show(imported, bgr=bgr)


def to_json(imported: Imported) -> dict[str, object]:
    """Returns the outcome, with the name of every tensor."""
    matching = imported.matching
    return {
        "run": str(imported.run),
        "source": matching.source.name,
        "labels": list(imported.labels),
        "trained": imported.trained,
        "coverage": matching.coverage,
        "matched": matching.renamed,
        "ignored": list(matching.unused),
        "unknown": list(matching.unknown),
        "missing": list(matching.missing),
        "conflicts": [str(conflict) for conflict in matching.conflicts],
    }


def show(imported: Imported, *, bgr: bool) -> None:
    """Prints counts, examples and the next command."""
    from arbex.weights.matching import PYRAMID

    matching = imported.matching
    values = sum(tensor.numel() for tensor in matching.tensors.values())
    click.echo(f"{imported.run}: {matching.source.name}, {values / 1e6:.2f} M values, {matching.coverage:.1%} covered")
    rows = (
        ("matched", len(matching.renamed), ""),
        ("ignored", len(matching.unused), some(matching.unused)),
        ("unknown", len(matching.unknown), some(matching.unknown)),
        ("missing", len(matching.missing), some(matching.missing)),
        ("shape conflicts", len(matching.conflicts), some([str(c) for c in matching.conflicts])),
    )
    print_table(("tensors", "number", "examples"), [[name, str(n), example] for name, n, example in rows])
    click.echo(f"classes: {', '.join(imported.labels)}")
    run = imported.run
    if matching.source.name == PYRAMID and not bgr:
        Console().line(
            "POSTER's public code trains on RAF-DB with blue as the first channel, and on AffectNet with red. If FILE "
            "is for RAF-DB, import it with --bgr."
        )
    if imported.trained:
        following = f"arbex evaluate {run} --data DATA, then: arbex export {run} --target all --calibration DATA"
    else:
        following = f"arbex train --data DATA --preset base --init {run}"
    Console().line(f"Next: {following}")


def some(names: tuple[str, ...] | list[str]) -> str:
    """Returns the first names and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
