"""Bundles with a defect whose manifest was written anew, as if they were intact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.bundle_writer import record_files
from runtimes import open_bundle
from runtimes.manifest import NAME
from runtimes.outcomes import ArtifactReport
from runtimes.verification import verify_bundle


def verified(
    bundle: Path, precision: str, folder: Path, spoil: Callable[[Path], object] | None = None
) -> ArtifactReport:
    """Returns the report of an artifact after something was done to it.

    Args:
        bundle: The intact bundle.
        precision: Precision of the artifact.
        folder: Empty folder for a copy with this artifact only.
        spoil: Changes the artifact in place; None leaves it intact.
    """
    intact = open_bundle(bundle)
    artifact = next(found for found in intact.manifest.artifacts if found.precision == precision)
    copy = Path(shutil.copytree(bundle, folder / bundle.name))
    if spoil:
        spoil(copy / artifact.file)
    read = intact.format(artifact).read_content
    artifact = replace(artifact, content=read(copy / artifact.file) if read else {})
    (copy / NAME).unlink()
    manifest = replace(intact.manifest, artifacts=(artifact,), files=record_files(copy))
    (copy / NAME).write_text(manifest.dump(), encoding="utf-8")
    (row,) = verify_bundle(open_bundle(copy)).artifacts
    return row
