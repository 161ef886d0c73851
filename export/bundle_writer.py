"""Packaging: artefacts, golden vectors, licences and a manifest that names every byte."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from arbex import __version__
from arbex.spec import Preprocessing, digest_file
from export.readme import render_licenses, render_readme
from export.targets import Target
from runtimes.bundle import Golden, pack_golden
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
    """Returns the versions of this toolkit and of the packages that shape an artefact."""
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
    return {p.relative_to(folder).as_posix(): FileRecord(p.stat().st_size, digest_file(p)) for p in files}


def seal_bundle(
    folder: Path,
    target: Target,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    artifacts: tuple[Artifact, ...],
    golden: Golden,
    provenance: Mapping[str, Any],
) -> Manifest:
    """Completes a folder that holds ``artifacts/`` to a bundle.

    Args:
        folder: The bundle's folder.
        target: What it is for.
        labels: Class names in order.
        preprocessing: How images become the input.
        artifacts: What lies in it.
        golden: Test vectors.
        provenance: Where it came from.
    """
    manifest = Manifest(target.name, labels, preprocessing, artifacts, provenance)
    (folder / "golden.npz").write_bytes(pack_golden(golden))
    (folder / "LICENSES").write_text(render_licenses(provenance), encoding="utf-8")
    (folder / "README.md").write_text(render_readme(manifest, target), encoding="utf-8")
    manifest = Manifest(target.name, labels, preprocessing, artifacts, provenance, record_files(folder))
    (folder / NAME).write_text(manifest.dump(), encoding="utf-8")
    return manifest
