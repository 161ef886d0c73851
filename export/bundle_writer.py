"""Packaging: artifacts, golden vectors, licenses and a manifest that names every byte."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from arbex import __version__
from arbex.spec import Preprocessing, digest_files
from export.readme import render_licenses, render_readme
from export.targets import Target
from runtimes.manifest import NAME, Artifact, FileRecord, Manifest

TOOLS = (
    "torch",
    "torchao",
    "onnx",
    "onnxscript",
    "onnxsim",
    "coremltools",
    "litert-torch",
    "litert-converter",
    "ai-edge-quantizer",
    "tensorrt-rtx-cu13",
    "torch-tensorrt",
)


def tool_versions() -> dict[str, str]:
    """Returns the versions of this toolkit and of the packages that shape an artifact."""
    versions = {"arbex": __version__}
    for name in TOOLS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Returns size and sha-256 of every file below a folder but the manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    digests = digest_files(files)
    return {
        file.relative_to(folder).as_posix(): FileRecord(file.stat().st_size, digest)
        for file, digest in zip(files, digests, strict=True)
    }


def seal_bundle(
    folder: Path,
    target: Target,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    artifacts: tuple[Artifact, ...],
    golden: bytes,
    provenance: Mapping[str, Any],
) -> Manifest:
    """Completes a folder that holds ``artifacts/`` to a bundle.

    Args:
        folder: The bundle's folder.
        target: What it is for.
        labels: Class names in order.
        preprocessing: How images become the input.
        artifacts: What lies in it.
        golden: Test vectors, packed.
        provenance: Where it came from.
    """
    manifest = Manifest(target.name, labels, preprocessing, artifacts, provenance)
    (folder / "golden.npz").write_bytes(golden)
    (folder / "LICENSES").write_text(render_licenses(provenance), encoding="utf-8")
    (folder / "README.md").write_text(render_readme(manifest, target), encoding="utf-8")
    manifest = Manifest(target.name, labels, preprocessing, artifacts, provenance, record_files(folder))
    (folder / NAME).write_text(manifest.dump(), encoding="utf-8")
    return manifest


def write_archive(bundle: Path) -> Path:
    """Writes a bundle as ``<target>.zip`` beside its folder; equal bundles give equal archives."""
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
