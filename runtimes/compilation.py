"""Checking that the ONNX files of a bundle compile for its GPU, in addition to their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from arbex.errors import BackendError, MissingPackageError
from runtimes.bundle import Bundle
from runtimes.engine_builds import EngineBuild, try_build
from runtimes.manifest import Artifact
from runtimes.onnx_runtime import ONNX
from runtimes.outcomes import FAILED, ArtifactReport
from runtimes.vendor_output import hidden_output

BuildCache: TypeAlias = dict[tuple[str, str], EngineBuild | BackendError]
"""Builds, or why there is none, by the digest of the file and the compute capability."""


def with_build(row: ArtifactReport, bundle: Bundle, artifact: Artifact, cache: BuildCache) -> ArtifactReport:
    """Returns an artifact's report with what the compiler of the bundle's GPU makes of the file.

    Args:
        row: The report.
        bundle: The bundle.
        artifact: The artifact.
        cache: Builds of the same files in other bundles; new ones are added.
    """
    capability = bundle.manifest.compute_capability
    if not capability or artifact.format != ONNX.name:
        return row
    key = (bundle.digest(artifact), capability)
    if key not in cache:
        try:
            with hidden_output():
                cache[key] = try_build(bundle.file(artifact), bundle.side, capability)
        except BackendError as error:  # MissingPackageError is one
            cache[key] = error
    found = cache[key]
    if isinstance(found, EngineBuild):
        return replace(row, build=found)
    if isinstance(found, MissingPackageError):
        return row.with_reason(f"it was not compiled for its GPU: {found}")
    return replace(row, outcome=FAILED).with_reason(str(found))
