"""``arbex inspect``: contents and origin of a bundle, cost of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arbex.cli.console import backbone_option, debug_option, json_option, print_json, print_table, size
from arbex.cli.parameters import PATH

if TYPE_CHECKING:
    from arbex.provenance import Tradeoff, Work

SMALLEST_SHOWN = 1000
"""Smallest number of values per image of an operator that is shown; ``--json`` has the others too."""


@click.command()
@click.argument("path", metavar="BUNDLE|RUN", type=PATH)
@backbone_option
@json_option
@debug_option
def inspect(path: Path, backbone: str | None, as_json: bool) -> None:
    """Show contents and origin of a bundle, or the cost of a run's model.

    The integrity of a bundle is checked first.
    """
    if (path / "config.json").is_file() and not (path / "manifest.json").is_file():
        inspect_run(path, backbone, as_json)
    else:
        inspect_bundle(path, as_json)


def inspect_bundle(bundle: Path, as_json: bool) -> None:
    """Shows a bundle."""
    from runtimes.bundle import open_bundle

    opened = open_bundle(bundle)
    manifest = opened.manifest
    sizes = {a.name: opened.size(a) for a in manifest.artifacts}
    if as_json:
        print_json({**manifest.to_json(), "bundle": str(bundle), "intact": True, "sizes": sizes})
        return
    origin = manifest.provenance
    click.echo(f"{bundle}: target {manifest.target}, all {len(manifest.files)} files intact")
    click.echo(f"model:       {origin.preset}, method {origin.method}, weights of epoch {origin.epoch}")
    click.echo(f"checkpoint:  {origin.checkpoint}")
    if origin.calibration:
        calibration = origin.calibration
        click.echo(f"calibration: {calibration.images} images, {calibration.calibrator}, {calibration.digest}")
    if origin.recipe:
        click.echo(f"recipe:      {origin.recipe.name}")
    if origin.sensitivity:
        restored = len(origin.sensitivity.restored)
        click.echo(f"gate:        {restored} of {len(origin.sensitivity.operators)} operators restored to float")
    side = manifest.preprocessing.image_size
    click.echo(f"input:       image, uint8 RGB [batch, {side}, {side}, 3], normalized inside the graph")
    click.echo(f"classes:     {', '.join(manifest.labels)}")
    if manifest.confidence_threshold is not None:
        click.echo(f"unsure:      answers with a confidence below {manifest.confidence_threshold:.3f}")
    click.echo(f"tools:       {', '.join(f'{name} {version}' for name, version in origin.tools.items())}")
    click.echo()
    shares = {a.name: f"{a.work.int8_share:.1%}" if a.work else "-" for a in manifest.artifacts}
    print_table(
        ("artifact", "precision", "format", "size", "in int8"),
        [[a.name, a.precision, a.format, size(sizes[a.name]), shares[a.name]] for a in manifest.artifacts],
    )
    for a in manifest.artifacts:
        if a.work:
            click.echo(f"\n{a.name}: {shares[a.name]} of multiply-adds in int8; in float:")
            show_islands(a.work)
    if origin.sensitivity:
        show_sensitivity(origin.sensitivity)


def show_islands(work: Work) -> None:
    """Prints what computes in float, and why."""
    for island in work.islands:
        click.echo(f"  {island.macs / work.macs:>7.2%}  {island.operators} operators: {island.reason}")
    if work.elementwise:
        click.echo("  between the layers, in thousands of values per image:")
    for row in work.elementwise:
        if row.values >= SMALLEST_SHOWN:
            click.echo(f"  {row.values / 1e3:7,.0f}  {row.operators} {row.operator}: {row.reason}")


def show_sensitivity(sensitivity: Tradeoff, rows: int = 8) -> None:
    """Prints the operators whose rounding costs most, and what the gate measured."""
    restored = set(sensitivity.restored)
    worst = sensitivity.operators[:rows]
    click.echo(f"\nmost sensitive of {len(sensitivity.operators)} operators, with the KL of each alone in int8:")
    print_table(
        ("module", "KL", "MMAC", "kept in"),
        [
            [o.module, f"{o.kl:.1e}", f"{o.macs / 1e6:.2f}", "float" if o.operator in restored else "int8"]
            for o in worst
        ],
    )
    click.echo("\ntrade-off, measured on calibration images:")
    print_table(
        ("restored", "in int8", "mean KL", "agreement"),
        [
            [str(t.restored), f"{t.int8_share:.1%}", f"{t.mean_kl:.1e}", f"{t.agreement:.2%}"]
            for t in sensitivity.trials
        ],
    )


def inspect_run(path: Path, backbone: str | None, as_json: bool) -> None:
    """Shows a run, and what its model costs by part."""
    from dataclasses import asdict

    from arbex.checkpoint import load_run, open_run
    from arbex.models.cost import measure_cost
    from arbex.models.head import Temperatures

    run = open_run(path)
    config = run.config
    cost = measure_cost(load_run(path, backbone=backbone))
    if as_json:
        total = {"parameters": cost.parameters, "macs": cost.macs}
        print_json(
            {
                "run": str(path),
                "checkpoint": run.digest,
                "epoch": run.epoch,
                "temperatures": run.calibration.temperatures._asdict(),
                "threshold": run.calibration.threshold,
                **config.to_json(),
                **total,
                "cost": asdict(cost),
            }
        )
        return
    trained = f"best epoch {run.epoch}" if run.epoch else "untrained"
    click.echo(f"{path}: {config.preset}, method {config.method}, {trained}")
    click.echo(f"checkpoint: {run.digest}")
    click.echo(f"input:      {config.preprocessing.image_size} x {config.preprocessing.image_size} RGB")
    click.echo(f"classes:    {', '.join(config.labels)}")
    temperatures, threshold = run.calibration.temperatures, run.calibration.threshold
    if temperatures != Temperatures():
        shown = ", ".join(f"{name} {value:.3f}" for name, value in temperatures._asdict().items())
        click.echo(f"calibrated: temperatures {shown}")
    if threshold is not None:
        click.echo(f"unsure:     answers with a confidence below {threshold:.3f}")
    click.echo()
    rows = [[part.part, f"{part.parameters / 1e6:.3f}", f"{part.macs / 1e6:.1f}"] for part in cost.parts]
    rows.append(["all", f"{cost.parameters / 1e6:.3f}", f"{cost.macs / 1e6:.1f}"])
    print_table(("part", "M parameters", "MMAC"), rows)
    click.echo(
        f"\nmemory at batch 1, float32: {size(cost.weight_bytes)} weights, {size(cost.activation_bytes)} activations"
    )
