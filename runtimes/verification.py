"""Checking a bundle: integrity, golden vectors, parity of distributions on images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from arbex.errors import ArbexError, BackendError, MissingPackageError
from arbex.progress import SILENT, Reporter
from arbex.provenance import Tradeoff
from runtimes.base import Prediction, Runtime
from runtimes.bundle import Bundle
from runtimes.comparison_images import ComparisonImages
from runtimes.deviation import deviation, exceeded
from runtimes.emulation.processors import NATIVE, Processor
from runtimes.formats import Content
from runtimes.golden import Golden, digest_golden
from runtimes.manifest import Artifact
from runtimes.parity import Parity, compare, violations
from runtimes.vendor_output import hidden_output


@dataclass(frozen=True, kw_only=True)
class ArtifactReport:
    """The outcome for one artifact.

    Attributes:
        artifact: Its file name.
        format: Name of its format.
        precision: Its precision.
        runtime: Name of what ran it, or of what runs it on its device.
        cpu: Name of the emulated processor that it ran on, or ``native``.
        executed: Whether it ran on this machine.
        passed: Whether everything that could be checked on this machine holds.
        why: What does not hold, or why it did not run.
        parity: The comparison with PyTorch; None if it did not run.
    """

    artifact: str
    format: str
    precision: str
    runtime: str
    cpu: str = NATIVE
    executed: bool
    passed: bool
    why: str
    parity: Parity | None = None

    @property
    def state(self) -> str:
        """``passed``, ``not executed`` or ``failed``."""
        if not self.passed:
            return "failed"
        return "passed" if self.executed else "not executed"

    @property
    def title(self) -> str:
        """The artifact's file name and, if it was emulated, the processor."""
        return self.artifact if self.cpu == NATIVE else f"{self.artifact} on {self.cpu}"

    def to_json(self) -> dict[str, Any]:
        """Returns the report as one flat object, the figures of the comparison included."""
        row = asdict(self)
        figures = row.pop("parity") or {name: None for name in Parity.__dataclass_fields__} | {"samples": 0}
        figures.pop("mean_kl_error")
        return {**row, **figures}


@dataclass(frozen=True, kw_only=True)
class BundleReport:
    """The outcome for one bundle.

    Attributes:
        bundle: Its folder.
        artifacts: A report per artifact.
        sensitivity: What the accuracy gate of the export measured; None without a gate.
        why: Why the bundle could not be opened; empty if it could.
    """

    bundle: str
    artifacts: tuple[ArtifactReport, ...] = ()
    sensitivity: Tradeoff | None = None
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether the bundle is intact and every artifact passed."""
        return not self.why and all(a.passed for a in self.artifacts)

    def to_json(self) -> dict[str, Any]:
        """Returns the report as the command prints it."""
        return {
            "bundle": self.bundle,
            "passed": self.passed,
            "artifacts": [a.to_json() for a in self.artifacts],
            **({"sensitivity": asdict(self.sensitivity)} if self.sensitivity else {}),
            **({"why": self.why} if self.why else {}),
        }


@dataclass(frozen=True)
class Verification:
    """The outcome for several bundles."""

    bundles: tuple[BundleReport, ...]

    @property
    def passed(self) -> bool:
        """Whether every bundle passed."""
        return all(bundle.passed for bundle in self.bundles)

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as the command prints it."""
        return {"passed": self.passed, "bundles": [bundle.to_json() for bundle in self.bundles]}


def content_differences(found: Content, recorded: Content) -> list[str]:
    """Returns how the content of a file differs from what the exporter recorded, as clauses."""
    names = sorted({*found, *recorded})
    return [
        f"its {name.replace('_', ' ')} changed after the export"
        for name in names
        if found.get(name) != recorded.get(name)
    ]


def changed_content(bundle: Bundle, artifact: Artifact) -> list[str]:
    """Returns how the content of an artifact differs from what the exporter recorded, if it did, as clauses.

    Raises:
        MissingPackageError: If what reads the content is not installed.
        BackendError: If the artifact is damaged or has another interface.
    """
    read = bundle.format(artifact).read_content
    return content_differences(read(bundle.file(artifact)), artifact.content) if read else []


def verify_unexecuted(bundle: Bundle, artifact: Artifact) -> ArtifactReport:
    """Checks what can be checked of an artifact that does not run on this machine."""
    found = bundle.format(artifact)
    why, passed = found.elsewhere, True
    try:
        changes = changed_content(bundle, artifact)
        if changes:
            why, passed = "; ".join(changes), False
    except MissingPackageError as error:
        why = f"It does not run on this machine, and could not be read back either: {error}"
    except BackendError as error:
        why, passed = str(error), False
    return ArtifactReport(
        artifact=artifact.name,
        format=artifact.format,
        precision=artifact.precision,
        runtime=found.runner,
        executed=False,
        passed=passed,
        why=why,
    )


def verify_executed(
    bundle: Bundle, artifact: Artifact, sets: Sequence[ComparisonImages], processor: Processor | None = None
) -> ArtifactReport:
    """Runs an artifact on the golden images and all sets; all must pass, and the figures are those of the last one.

    Args:
        bundle: Its bundle.
        artifact: The artifact.
        sets: The images, in addition to the golden ones.
        processor: Processor to emulate; None stands for that of this machine.
    """
    reasons: list[str] = []
    parity: Parity | None = None
    runtime_name, executed = "none", False
    try:
        reasons += changed_content(bundle, artifact)
        with open_for(bundle, artifact, processor) as runtime:
            golden = bundle.golden()
            answers = runtime.run_all(golden.images)
            exact = runtime.run_exactly(golden.images) if bundle.format(artifact).is_exact else answers
            reasons += changed_answers(bundle, artifact, golden, runtime.name, exact)
            parity = compare(golden.expected, answers)
            reasons += violations(parity, artifact.thresholds.golden, exact=True)
            for images in sets:
                parity = compare(images.expected, runtime.run_all(images.images), images.labels)
                limits = artifact.thresholds.overridden(mean_kl=images.max_kl, top1_agreement=images.min_agreement)
                reasons += violations(parity, limits)
            runtime_name, executed = runtime.name, True
        passed, why = not reasons, "; ".join(reasons)
    except MissingPackageError as error:
        passed, why, parity = True, str(error), None
    except BackendError as error:
        passed, why, parity = False, str(error), None
    return ArtifactReport(
        artifact=artifact.name,
        format=artifact.format,
        precision=artifact.precision,
        runtime=runtime_name,
        cpu=processor.name if processor else NATIVE,
        executed=executed,
        passed=passed,
        why=why,
        parity=parity,
    )


def changed_answers(bundle: Bundle, artifact: Artifact, golden: Golden, runtime: str, found: Prediction) -> list[str]:
    """Returns how the answers to the golden images differ from those of the intact artifact and of its program.

    A runtime that did not run the artifact at export is held to the other limits alone.

    Args:
        bundle: The bundle.
        artifact: The artifact.
        golden: The bundle's golden vectors.
        runtime: Name of the runtime that answered.
        found: The answers.
    """
    recorded = artifact.recorded
    if recorded is None or recorded.runtime != runtime:
        return []
    before, program = golden.recorded.get(artifact.name), golden.programs.get(artifact.precision)
    limit = artifact.thresholds.program_kl
    if before is None or (program is None and limit is not None):
        return ["the golden vectors lack its answers at export, which the manifest promises"]
    same_version = recorded.version == bundle.format(artifact).version
    limits = recorded.limits if same_version else replace(recorded.limits, typical_error=None)
    reasons = exceeded(deviation(before, found), limits)
    if program is not None and limit is not None:
        apart = deviation(program, found).mean_kl
        reasons += [] if apart <= limit else [f"mean KL {apart:.1e} to its program exceeds {limit:.0e}"]
    return reasons


def open_for(bundle: Bundle, artifact: Artifact, processor: Processor | None) -> Runtime:
    """Returns an artifact loaded into its runtime, on the processor of this machine or an emulated one."""
    if processor:
        return bundle.open_emulated(artifact, processor)
    return bundle.open_artifact(artifact, threads=os.cpu_count())


ReportCache: TypeAlias = dict[tuple[Any, ...], ArtifactReport]
"""Reports by all that they depend on: bytes and entry of an artifact, its golden vectors, and the processor."""


def verify_bundle(
    bundle: Bundle,
    extra: Sequence[ComparisonImages] = (),
    cache: ReportCache | None = None,
    processors: Sequence[Processor] = (),
    report: Reporter = SILENT,
) -> BundleReport:
    """Checks every artifact of an opened bundle, which is therefore intact.

    Args:
        bundle: The bundle.
        extra: Images to compare on, in addition to the golden vectors.
        cache: Reports on the same images, so that a file that several bundles share runs once. New ones are added.
        processors: Processors to emulate in addition to that of this machine, for the artifacts whose runtimes can.
        report: Receives progress.
    """
    golden = bundle.golden()
    cache = {} if cache is None else cache
    reports = []
    if processors and not any(bundle.format(artifact).portable for artifact in bundle.manifest.artifacts):
        report.line(f"{bundle.path}: no artifact of it can be emulated; only ONNX and LiteRT files can")
    for artifact in bundle.manifest.artifacts:
        found = bundle.format(artifact)
        if found.runtime is None:
            reports.append(verify_unexecuted(bundle, artifact))
            continue
        for processor in (None, *processors) if found.portable else (None,):
            vectors = digest_golden(golden, artifact.name, artifact.precision)
            key = (
                bundle.digest(artifact),
                artifact.precision,
                artifact.thresholds,
                artifact.recorded,
                vectors,
                processor,
            )
            if key not in cache:
                if processor:
                    report.line(f"emulating {processor.name}: {bundle.manifest.target}/{artifact.name}")
                with hidden_output():
                    cache[key] = verify_executed(bundle, artifact, extra, processor)
            reports.append(cache[key])
    return BundleReport(
        bundle=str(bundle.path), artifacts=tuple(reports), sensitivity=bundle.manifest.provenance.sensitivity
    )


def broken_bundle(path: str, error: ArbexError) -> BundleReport:
    """Returns the report of a bundle that could not be opened."""
    return BundleReport(bundle=path, why=str(error))
