"""Checking a bundle: integrity, golden vectors, parity of distributions on images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from arbex.errors import ArbexError, BackendError, MissingPackageError
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.bundle import NOT_HERE, RUNTIMES, Bundle
from runtimes.coreml_package import problems, read_package
from runtimes.manifest import Artifact, Thresholds
from runtimes.parity import Parity, compare, violations

BATCH = 16


@dataclass(frozen=True)
class TestImages:
    """Images to compare on.

    Attributes:
        images: uint8 ``[n, S, S, 3]``.
        expected: PyTorch's answers.
        labels: Classes [n], or nothing.
        max_kl: Limit of the mean KL on these images, instead of the artifact's own.
        min_agreement: Limit of the top-1 agreement on these images, instead of the artifact's own.
    """

    __test__ = False  # not a test case, whatever its name suggests

    images: NDArray[np.uint8]
    expected: Prediction
    labels: NDArray[np.integer] | None = None
    max_kl: float | None = None
    min_agreement: float | None = None


@dataclass(frozen=True)
class ArtifactReport:
    """The outcome for one artifact.

    Attributes:
        artifact: Its file name.
        format: Its format.
        precision: Its precision.
        runtime: What really ran it, or would.
        executed: Whether it ran here.
        passed: Whether everything that could be checked here holds.
        why: What does not hold, or why it did not run.
        parity: The comparison, where it ran.
    """

    artifact: str
    format: str
    precision: str
    runtime: str
    executed: bool
    passed: bool
    why: str
    parity: Parity | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the row with the comparison's figures beside the others."""
        row = asdict(self)
        figures = row.pop("parity") or {name: None for name in Parity.__dataclass_fields__} | {"samples": 0}
        figures.pop("mean_kl_error")
        return {**row, **figures}


@dataclass(frozen=True)
class BundleReport:
    """The outcome for one bundle.

    Attributes:
        bundle: Its folder.
        artifacts: A row each.
        sensitivity: What the accuracy gate of the export measured, where there was one.
    """

    bundle: str
    artifacts: tuple[ArtifactReport, ...]
    sensitivity: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether every artifact passed."""
        return all(a.passed for a in self.artifacts)

    def to_json(self) -> dict[str, Any]:
        """Returns the report as the command prints it."""
        return {
            "bundle": self.bundle,
            "passed": self.passed,
            "artifacts": [a.to_json() for a in self.artifacts],
            **({"sensitivity": self.sensitivity} if self.sensitivity else {}),
        }


def run_all(runtime: Runtime, images: NDArray[np.uint8]) -> Prediction:
    """Runs images in batches."""
    return concatenate([runtime.run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])


WOULD_RUN = {"mlpackage": "coreml", "rtx-engine": "tensorrt-rtx", "tensorrt-engine": "tensorrt"}


def verify_unexecuted(bundle: Bundle, artifact: Artifact) -> ArtifactReport:
    """Checks what can be checked of an artifact that nothing here runs."""
    why, passed = NOT_HERE[artifact.format], True
    if artifact.format == "mlpackage":
        try:
            found = problems(read_package(bundle.file(artifact)), artifact.content)
            if found:
                why, passed = "; ".join(found), False
        except MissingPackageError as error:
            why = f"Core ML runs on Apple devices only, and here even reading it back did not work: {error}"
        except BackendError as error:
            why, passed = str(error), False
    return ArtifactReport(
        artifact.name, artifact.format, artifact.precision, WOULD_RUN[artifact.format], False, passed, why
    )


def verify_executed(bundle: Bundle, artifact: Artifact, tests: Sequence[TestImages]) -> ArtifactReport:
    """Runs an artifact on all test images; the figures are those of the last set, all sets must pass."""
    row = (artifact.name, artifact.format, artifact.precision)
    reasons: list[str] = []
    parity: Parity | None = None
    try:
        with bundle.open_artifact(artifact, threads=os.cpu_count()) as runtime:
            name = runtime.name
            for test in tests:
                parity = compare(test.expected, run_all(runtime, test.images), test.labels)
                limits = artifact.thresholds.adjusted(mean_kl=test.max_kl, top1_agreement=test.min_agreement)
                reasons += violations(parity, limits)
    except MissingPackageError as error:
        return ArtifactReport(*row, "none", False, True, str(error))
    except BackendError as error:
        return ArtifactReport(*row, "none", False, False, str(error))
    return ArtifactReport(*row, name, True, not reasons, "; ".join(reasons), parity)


Known: TypeAlias = dict[tuple[str, str, Thresholds], ArtifactReport]
"""Reports by sha-256, precision and limits of the file."""


def verify_bundle(bundle: Bundle, extra: Sequence[TestImages] = (), known: Known | None = None) -> BundleReport:
    """Checks every artifact of an opened (so intact) bundle.

    Args:
        bundle: The bundle.
        extra: Images beyond the golden vectors.
        known: Reports on the same images; a file that several bundles share runs once. New ones are added.
    """
    golden = bundle.golden()
    tests = [TestImages(golden.images, golden.expected), *extra]
    known = {} if known is None else known
    reports = []
    for artifact in bundle.manifest.artifacts:
        if artifact.format not in RUNTIMES:
            reports.append(verify_unexecuted(bundle, artifact))
            continue
        key = (bundle.manifest.files[artifact.file].sha256, artifact.precision, artifact.thresholds)
        if key not in known:
            known[key] = verify_executed(bundle, artifact, tests)
        reports.append(known[key])
    return BundleReport(str(bundle.path), tuple(reports), bundle.manifest.provenance.get("sensitivity"))


def broken_bundle(path: str, error: ArbexError) -> dict[str, Any]:
    """Returns the report of a bundle that could not be opened."""
    return {"bundle": path, "passed": False, "artifacts": [], "why": str(error)}
