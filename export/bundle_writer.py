"""Packaging a bundle: artifacts, golden vectors, licenses, and a manifest with the digest of every file."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from arbex.files import link_or_copy
from arbex.packages import tool_versions
from arbex.spec import digest_files
from export.readme import render_licenses, render_readme
from export.registry import WRITERS
from export.targets import Target
from runtimes.golden import NAME as GOLDEN
from runtimes.golden import Golden, pack_golden
from runtimes.manifest import NAME, FileRecord, Manifest

SHAPING = ("torch", "torchao")
"""Packages on whose versions the program of every artifact depends."""


def export_tools() -> dict[str, str]:
    """Returns the versions of this toolkit and of the packages on which artifacts depend."""
    written = (n for w in WRITERS.values() for n in (*(p.distribution for p in w.packages), *w.tools))
    return tool_versions((*SHAPING, *written))


def copy_artifact(made: Path, folder: Path) -> Path:
    """Puts a file or folder from the work folder into ``artifacts/`` of a bundle, and returns its path there."""
    copy = folder / "artifacts" / made.name
    copy.parent.mkdir(exist_ok=True)
    if made.is_dir():
        shutil.copytree(made, copy, copy_function=link_or_copy)
    else:
        link_or_copy(made, copy)
    return copy


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Returns size and SHA-256 of every file below a folder except the manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    digests = digest_files(files)
    return {
        file.relative_to(folder).as_posix(): FileRecord(size=file.stat().st_size, sha256=digest)
        for file, digest in zip(files, digests, strict=True)
    }


def seal_bundle(folder: Path, manifest: Manifest, target: Target, golden: Golden) -> None:
    """Completes a folder that holds ``artifacts/``, so that it becomes a bundle.

    Args:
        folder: The bundle's folder.
        manifest: Manifest without the list of files.
        target: Target of the bundle.
        golden: Golden vectors.
    """
    (folder / GOLDEN).write_bytes(pack_golden(golden))
    (folder / "LICENSES").write_text(render_licenses(manifest.provenance), encoding="utf-8")
    (folder / "README.md").write_text(render_readme(manifest, target), encoding="utf-8")
    sealed = replace(manifest, files=record_files(folder))
    (folder / NAME).write_text(sealed.dump(), encoding="utf-8")


def write_archive(bundle: Path) -> Path:
    """Writes a bundle as ``<target>.zip`` next to its folder; equal bundles give equal archives."""
    path = bundle.parent / f"{bundle.name}.zip"
    stage = bundle.parent / f".{bundle.name}.zip.part"
    try:
        with zipfile.ZipFile(stage, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(p for p in bundle.rglob("*") if p.is_file()):
                info = zipfile.ZipInfo(f"{bundle.name}/{file.relative_to(bundle).as_posix()}")
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, file.read_bytes())
        stage.replace(path)
    finally:
        stage.unlink(missing_ok=True)
    return path
