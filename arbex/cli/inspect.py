"""``arbex inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from arbex.cli.console import debug_option, json_option, print_json, print_table, size


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
@debug_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Show what BUNDLE holds, made from what, by what. Its integrity is checked first."""
    from runtimes.bundle import open_bundle

    opened = open_bundle(bundle)
    manifest = opened.manifest
    sizes = {a.name: opened.size(a) for a in manifest.artifacts}
    if as_json:
        print_json({**manifest.to_json(), "bundle": str(bundle), "intact": True, "sizes": sizes})
        return
    origin = manifest.provenance
    click.echo(f"{bundle}: target {manifest.target}, all {len(manifest.files)} files intact")
    click.echo(f"model:       {origin['preset']}, method {origin['method']}, trained for {origin['epoch']} epochs")
    click.echo(f"checkpoint:  {origin['checkpoint']}")
    if "calibration" in origin:
        calibration = origin["calibration"]
        click.echo(f"calibration: {calibration['images']} images, {calibration['calibrator']}, {calibration['digest']}")
        click.echo(f"recipe:      {origin['recipe']['name']}")
    side = manifest.preprocessing.image_size
    click.echo(f"input:       image, uint8 RGB [batch, {side}, {side}, 3], normalised inside the graph")
    click.echo(f"classes:     {', '.join(manifest.labels)}")
    click.echo(f"tools:       {', '.join(f'{name} {version}' for name, version in origin['tools'].items())}")
    click.echo()
    print_table(
        ("artefact", "precision", "format", "size"),
        [[a.name, a.precision, a.format, size(sizes[a.name])] for a in manifest.artifacts],
    )
