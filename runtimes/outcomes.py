"""Outcomes of a verification, by artifact, by bundle and of all bundles."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from arbex.provenance import Provenance, Tradeoff
from runtimes.difference import Difference
from runtimes.emulation.processors import NATIVE
from runtimes.engine_builds import EngineBuild
from runtimes.evidence import Evidence
from runtimes.parity import Parity

PASSED, FAILED, UNDECIDED, NOT_EXECUTED = "passed", "failed", "undecided", "not executed"
"""Outcomes of an artifact."""


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
        outcome: ``passed``, ``failed``, ``undecided`` if more images are needed to tell, or ``not executed``.
        why: What does not hold or is undecided, or why it did not run.
        parity: The comparison with PyTorch; None if it did not run.
        evidence: What lies behind its figures, for reports; None if it did not run.
        program_kl: Mean KL to the answers of its program on the golden vectors, in nats; None if it did not run, or has
            no program of its own.
        evaluator_kl: Mean KL of its runtime's answers to the evaluator's on the golden vectors, in nats; None unless
            that was asked for and both run here.
        first_difference: Where it parts from its program, if it failed and that was asked for and found.
        build: What the compiler of NVIDIA's GPUs makes of it; None if it is for other devices or was not compiled.
    """

    artifact: str
    format: str
    precision: str
    runtime: str
    cpu: str = NATIVE
    executed: bool
    outcome: str
    why: str
    parity: Parity | None = None
    evidence: Evidence | None = None
    program_kl: float | None = None
    evaluator_kl: float | None = None
    build: EngineBuild | None = None
    first_difference: Difference | None = None

    @property
    def passed(self) -> bool:
        """Whether everything that could be checked on this machine holds."""
        return self.outcome in (PASSED, NOT_EXECUTED)

    @property
    def title(self) -> str:
        """The artifact's file name and, if it was emulated, the processor."""
        return self.artifact if self.cpu == NATIVE else f"{self.artifact} on {self.cpu}"

    def with_reason(self, reason: str) -> ArtifactReport:
        """Returns the report with one more reason after those that there are."""
        return replace(self, why=f"{self.why}; {reason}" if self.why else reason)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should read beside the figures: why, where, and what a compiler says."""
        return tuple(str(remark) for remark in (self.why, self.evaluated, self.first_difference, self.build) if remark)

    @property
    def evaluated(self) -> str:
        """How far its runtime is from the evaluator, as a sentence; empty if that is not known."""
        if self.evaluator_kl is None:
            return ""
        return f"The answers of {self.runtime} are {self.evaluator_kl:.1e} nats (mean KL) from the evaluator's."

    def to_json(self) -> dict[str, Any]:
        """Returns the report as one flat object, the figures of the comparison included."""
        row = asdict(replace(self, evidence=None))
        del row["evidence"]
        figures = row.pop("parity") or {name: None for name in Parity.__dataclass_fields__} | {"samples": 0}
        return {**row, "passed": self.passed, **figures}


@dataclass(frozen=True, kw_only=True)
class BundleReport:
    """The outcome for one bundle.

    Attributes:
        bundle: Its folder.
        artifacts: A report per artifact.
        provenance: Where its artifacts came from; None if it could not be opened.
        why: Why the bundle could not be opened; empty if it could.
    """

    bundle: str
    artifacts: tuple[ArtifactReport, ...] = ()
    provenance: Provenance | None = None
    why: str = ""

    @property
    def sensitivity(self) -> Tradeoff | None:
        """What the accuracy gate of the export measured; None without a gate."""
        return self.provenance.sensitivity if self.provenance else None

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


@dataclass(frozen=True, kw_only=True)
class State:
    """An artifact in one verification.

    Attributes:
        outcome: Its outcome.
        mean_kl: Mean KL(PyTorch, artifact) in nats; None if it did not run.
        top1_agreement: Share of images with the same most probable class; None if it did not run.
    """

    outcome: str
    mean_kl: float | None
    top1_agreement: float | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """An artifact then and now.

    Attributes:
        bundle: Name of its bundle's folder.
        artifact: Its file name.
        cpu: Name of the emulated processor, or ``native``.
        before: Then; None if it was not there.
        after: Now; None if it is no longer there.
    """

    bundle: str
    artifact: str
    cpu: str
    before: State | None
    after: State | None


@dataclass(frozen=True)
class Verification:
    """The outcome for several bundles.

    Attributes:
        bundles: A report per bundle.
        changes: What changed since an earlier verification; None if there was none to compare with.
    """

    bundles: tuple[BundleReport, ...]
    changes: tuple[Change, ...] | None = None

    @property
    def passed(self) -> bool:
        """Whether every bundle passed."""
        return all(bundle.passed for bundle in self.bundles)

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as the command prints it."""
        return {
            "passed": self.passed,
            "bundles": [bundle.to_json() for bundle in self.bundles],
            **({} if self.changes is None else {"changes": [asdict(change) for change in self.changes]}),
        }
