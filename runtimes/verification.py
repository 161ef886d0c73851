"""Checking a bundle: integrity, golden vectors, parity of distributions on images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

from arbex.errors import ArbexError, BackendError, BundleError, MissingPackageError
from arbex.progress import SILENT, Reporter, Step, uncounted
from runtimes.base import Prediction, Runtime
from runtimes.bundle import Bundle
from runtimes.comparison import Comparison
from runtimes.comparison_images import ComparisonImages
from runtimes.compilation import BuildCache, with_build
from runtimes.decision import Decision, decide, decide_exactly
from runtimes.deviation import deviation, exceeded
from runtimes.emulation.processors import NATIVE, Processor
from runtimes.formats import Content
from runtimes.golden import Golden, changed_preprocessing, digest_golden
from runtimes.manifest import Artifact, Thresholds
from runtimes.outcomes import FAILED, NOT_EXECUTED, PASSED, UNDECIDED, ArtifactReport, BundleReport
from runtimes.parity import Parity
from runtimes.quiet_runs import run_quietly, run_unrounded
from runtimes.vendor_output import hidden_output


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
    why, outcome = found.elsewhere, NOT_EXECUTED
    try:
        changes = changed_content(bundle, artifact)
        if changes:
            why, outcome = "; ".join(changes), FAILED
    except MissingPackageError as error:
        why = f"It does not run on this machine, and could not be read back either: {error}"
    except BackendError as error:
        why, outcome = str(error), FAILED
    return ArtifactReport(
        artifact=artifact.name,
        format=artifact.format,
        precision=artifact.precision,
        runtime=found.runner,
        executed=False,
        outcome=outcome,
        why=why,
    )


def verify_executed(
    bundle: Bundle,
    artifact: Artifact,
    sets: Sequence[ComparisonImages],
    processor: Processor | None = None,
    report: Reporter = SILENT,
    evaluate: bool = False,
) -> ArtifactReport:
    """Runs an artifact on the golden images and all sets; all must pass, and the figures are those of the last one.

    Args:
        bundle: Its bundle.
        artifact: The artifact.
        sets: The images, in addition to the golden ones.
        processor: Processor to emulate; None stands for that of this machine.
        report: Receives progress.
        evaluate: Whether to compare its runtime with the evaluator of its format, if there is one beside it.
    """
    row = ArtifactReport(
        artifact=artifact.name,
        format=artifact.format,
        precision=artifact.precision,
        runtime="none",
        cpu=processor.name if processor else NATIVE,
        executed=False,
        outcome=NOT_EXECUTED,
        why="",
    )
    try:
        with report.doing(f"{row.title}: opening"), hidden_output():
            decision = Decision(tuple(changed_content(bundle, artifact)))
            runtime = open_for(bundle, artifact, processor)
        with runtime:
            golden = bundle.golden().every(EMULATED_STEP if processor else 1)
            with report.bar(f"{row.title}: golden images", 2 * len(golden.images)) as step:
                found = check_golden(bundle, artifact, runtime, golden, step)
            if evaluate and bundle.format(artifact).evaluator:
                with report.bar(f"{row.title}: evaluator", 2 * len(golden.images)) as step:
                    found = found.beside(evaluate_golden(bundle, artifact, golden, step))
            comparison, parity, decision = found.comparison, found.parity, decision + found.decision
            for images in sets:
                with report.bar(row.title, len(images.images)) as step:
                    comparison = images.compare(partial(run_quietly, runtime), bundle.labels, step)
                parity = comparison.parity()
                decision += decide_on(images, parity, artifact.thresholds)
    except MissingPackageError as error:
        return replace(row, why=str(error))
    except (BackendError, BundleError) as error:
        return replace(row, outcome=FAILED, why=str(error))
    return replace(
        row,
        runtime=runtime.name,
        executed=True,
        outcome=FAILED if decision.violated else UNDECIDED if decision.undecided else PASSED,
        why="; ".join(decision.violated or decision.undecided) or found.note,
        parity=parity,
        evidence=comparison.evidence(),
        program_kl=found.program_kl,
        evaluator_kl=found.evaluator_kl,
    )


def decide_on(images: ComparisonImages, parity: Parity, thresholds: Thresholds) -> Decision:
    """Decides whether an artifact's limits hold on images."""
    decision = decide(parity, thresholds.overridden(images.limits))
    return replace(decision, undecided=()) if images.undecided_passes else decision


@dataclass(frozen=True)
class GoldenCheck:
    """What an artifact's answers to the golden images show.

    Attributes:
        answers: The answers.
        comparison: The comparison with PyTorch.
        parity: Its figures.
        decision: Whether they are right.
        program_kl: Mean KL to the answers of its program, in nats; None if it has no program of its own.
        note: What could not be compared, as sentences; mostly empty.
        evaluator_kl: Mean KL to the evaluator's answers, in nats; None if they were not compared.
    """

    answers: Prediction
    comparison: Comparison
    parity: Parity
    decision: Decision
    program_kl: float | None
    note: str
    evaluator_kl: float | None = None

    def beside(self, evaluated: GoldenCheck) -> GoldenCheck:
        """Returns the check with what the evaluator's answers for the same file show.

        The runtime is another one than that of the export, and may round as it likes. The evaluator is the same, and
        tells whether the file is.
        """
        return replace(
            self,
            decision=self.decision + evaluated.decision,
            program_kl=evaluated.program_kl,
            note=evaluated.note,
            evaluator_kl=deviation(evaluated.answers, self.answers).mean_kl,
        )


EMULATED_STEP: Final = 4
"""Of the golden images, every fourth runs on an emulated processor, since emulation is slow."""


def check_golden(
    bundle: Bundle, artifact: Artifact, runtime: Runtime, golden: Golden, step: Step = uncounted
) -> GoldenCheck:
    """Compares an artifact's answers to golden images with PyTorch's, with its own at export, and its program's.

    Args:
        bundle: Its bundle.
        artifact: The artifact.
        runtime: What runs it.
        golden: Golden vectors.
        step: Receives progress, up to twice the number of images, since some artifacts answer twice.
    """
    count = len(golden.images)
    answers = run_quietly(runtime, golden.images, step)
    comparison = Comparison(bundle.labels)
    comparison.add(golden.expected, answers, images=golden.images)
    parity = comparison.parity()
    exact, note = exact_answers(artifact, runtime, golden, answers, lambda done: step(count + done))
    step(2 * count)
    changes = changed_answers(bundle, artifact, golden, runtime.name, exact) if exact else []
    program = golden.programs.get(artifact.precision)
    return GoldenCheck(
        answers=answers,
        comparison=comparison,
        parity=parity,
        decision=decide_exactly(parity, artifact.thresholds.golden) + Decision(tuple(changes)),
        program_kl=None if program is None or exact is None else deviation(program, exact).mean_kl,
        note=note,
    )


def evaluate_golden(bundle: Bundle, artifact: Artifact, golden: Golden, step: Step) -> GoldenCheck:
    """Compares the evaluator's answers for an artifact as ``check_golden`` does."""
    evaluator = bundle.format(artifact).evaluator
    with bundle.open_artifact(artifact, threads=os.cpu_count(), runtime_class=evaluator) as runtime:
        return check_golden(bundle, artifact, runtime, golden, step)


def exact_answers(
    artifact: Artifact, runtime: Runtime, golden: Golden, answers: Prediction, step: Step
) -> tuple[Prediction | None, str]:
    """Returns the answers to compare with those at export, or None and why they cannot be compared."""
    if not (artifact.recorded and artifact.recorded.exact):
        return answers, ""
    try:
        if runtime.rounds_to_half:
            return run_unrounded(runtime, golden.images, step), ""
    except MissingPackageError as error:
        return None, f"It was compared with PyTorch only, and not with its own answers at export. {error}"
    return None, "It was compared with PyTorch only: nothing here runs it without rounding to float16."


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
    builds: BuildCache | None = None,
    *,
    evaluate: bool = False,
) -> BundleReport:
    """Checks every artifact of an opened bundle, which is therefore intact.

    Args:
        bundle: The bundle.
        extra: Images to compare on, in addition to the golden vectors.
        cache: Reports on the same images, so that a file that several bundles share runs once. New ones are added.
        processors: Processors to emulate in addition to that of this machine, for the artifacts whose runtimes can.
        report: Receives progress.
        builds: Builds of ONNX files for NVIDIA GPUs, to which new ones are added; None compiles nothing.
        evaluate: Whether to compare runtimes with the evaluators of their formats, where there are both.
    """
    golden = bundle.golden()
    changed = changed_preprocessing(golden, bundle.side)
    if changed:
        return BundleReport(bundle=str(bundle.path), why=changed)
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
                cache[key] = verify_executed(bundle, artifact, extra, processor, report, evaluate and processor is None)
            row = cache[key]
            with report.doing(f"{row.title}: building"):
                reports.append(row if processor or builds is None else with_build(row, bundle, artifact, builds))
    return BundleReport(bundle=str(bundle.path), artifacts=tuple(reports), provenance=bundle.manifest.provenance)


def broken_bundle(path: str, error: ArbexError) -> BundleReport:
    """Returns the report of a bundle that could not be opened."""
    return BundleReport(bundle=path, why=str(error))
