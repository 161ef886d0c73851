"""``arbex run``: classify images with a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from arbex.cli.console import debug_option, json_option, print_json, print_table
from arbex.cli.parameters import PATH


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--artifact", help="File name or precision.  [default: the most accurate that runs here]")
@click.option("--detector", type=PATH, help="YuNet ONNX file that detects faces.  [default: an image is a face]")
@click.option("--threads", type=click.IntRange(min=1), help="Number of threads.  [default: the runtime's choice]")
@json_option
@debug_option
def run(
    bundle: Path,
    images: tuple[Path, ...],
    artifact: str | None,
    detector: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, folders or videos) with BUNDLE."""
    from arbex.api import classify

    faces = classify(bundle, images, artifact=artifact, detector=detector, threads=threads)
    if as_json:
        print_json([face.to_json() for face in faces])
        return
    rows = []
    for face in faces:
        best = sorted(face.corrected.items(), key=lambda item: -item[1])[:3]
        top = ", ".join(f"{name} {p:.2f}" for name, p in best)
        label = f"{face.label} (unsure)" if face.unsure else face.label
        rows.append([face.file, label, f"{face.confidence:.2f}", top])
    print_table(("image", "expression", "confidence", "corrected"), rows)
    if not faces:
        click.echo("No face was found.")
