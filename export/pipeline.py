"""The steps of ``arbex export``, from a run to a bundle for each target."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from arbex.checkpoint import Run, load_run
from arbex.errors import CheckFailed
from arbex.progress import SILENT, Reporter
from arbex.provenance import CalibrationRecord, Provenance, Tradeoff
from calibration import CalibrationTable
from export.bundle_writer import export_tools
from export.bundler import Bundler
from export.channel_equalization import equalize_channels
from export.gate import Gate, gate_on, search_fallback
from export.golden_images import golden_vectors
from export.int8_calibration import Calibrated, prepare_int8
from export.lowering import Lowering
from export.plan import ExportPlan, ExportRequest, plan_export
from export.programs import Programs
from export.trace import TracedModel, trace
from quantize.fallback import Outcome
from runtimes.golden import Golden
from runtimes.outcomes import BundleReport


def export(request: ExportRequest, *, report: Reporter = SILENT) -> list[BundleReport]:
    """Writes a bundle for each target and checks it.

    Returns:
        A report per bundle, on the golden vectors and, with a gate, on the calibration images.

    Raises:
        InputError: If something given cannot be used, or a folder in ``out`` holds anything but a bundle; nothing is
            written then.
        BackendError: If a vendor's package is missing or fails.
        CheckFailed: If a bundle does not pass its checks; it is not kept.
    """
    plan = plan_export(request)
    prepared = prepare(plan, report)
    with tempfile.TemporaryDirectory(prefix="arbex-export-") as work:
        bundler = Bundler(
            lowering=Lowering(prepared.programs, Path(work), report),
            thresholds=plan.thresholds,
            golden=prepared.golden,
            provenance=prepared.provenance,
            run=plan.run.path,
            confidence_threshold=plan.run.calibration.threshold,
            extra=(prepared.gate.images,) if prepared.gate else (),
        )
        return write_all(bundler, plan, report)


def write_all(bundler: Bundler, plan: ExportPlan, report: Reporter) -> list[BundleReport]:
    """Writes all bundles; one that does not pass its checks does not keep the others from being written.

    Raises:
        CheckFailed: If one does not pass, after the others are written.
    """
    written: list[BundleReport] = []
    failures: list[CheckFailed] = []
    for bundle in plan.bundles:
        try:
            written.append(bundler.write(bundle, report, archive=plan.archive))
        except CheckFailed as error:
            failures.append(error)
            report.line(f"{bundle.target.name}: not kept, since it does not pass its checks")
    if failures:
        kept = f" Kept: {', '.join(each.bundle for each in written)}." if written else ""
        raise CheckFailed(" ".join(error.problem for error in failures) + kept, remedy=failures[0].remedy)
    return written


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What all bundles of an export have in common.

    Attributes:
        programs: Programs of the bundles.
        golden: Golden vectors.
        provenance: Where the bundles came from.
        gate: Gate that INT8 has passed; None without a gate.
    """

    programs: Programs
    golden: Golden
    provenance: Provenance
    gate: Gate | None


def prepare(plan: ExportPlan, report: Reporter) -> Prepared:
    """Traces the run, calibrates, and finds what must stay in float.

    Raises:
        RunError, DataError: If the run or the calibration cannot be used.
        CheckFailed: If a gate does not hold even with all operators in float.
    """
    run = plan.run
    model = load_run(run.path, backbone=plan.backbone)
    for warning in run.warnings:
        report.line(warning)
    report.line(f"tracing {run.path} ({run.config.preset}, {run.config.method}, epoch {run.epoch})")
    with report.doing("tracing"):
        traced = equalize_channels(trace(model))
    golden = golden_vectors(model, traced.side, report)
    calibrated = prepare_int8(run, traced, plan.calibration, report) if plan.int8_recipes else None
    gate = None
    if plan.gated and calibrated and calibrated.images:
        gate = gate_on(calibrated.images, model, plan.thresholds["int8"])
    outcome = restore(plan, traced, calibrated, gate, report) if calibrated and gate else None
    ranges = calibrated.table.ranges if calibrated else {}
    return Prepared(
        programs=Programs(traced, ranges, outcome.restored if outcome else ()),
        golden=golden,
        provenance=provenance_of(run, calibrated, outcome.tradeoff if outcome else None),
        gate=gate,
    )


def provenance_of(run: Run, calibrated: Calibrated | None, tradeoff: Tradeoff | None) -> Provenance:
    """Returns the provenance that the bundles of all targets have in common."""
    config = run.config
    return Provenance(
        checkpoint=run.digest,
        preset=config.preset,
        method=config.method,
        epoch=run.epoch,
        data=Path(config.data.get("path", "")).name,
        preprocessing=config.preprocessing.digest,
        tools=export_tools(),
        run="",
        calibration=record_of(calibrated.table) if calibrated else None,
        sensitivity=tradeoff,
    )


def record_of(table: CalibrationTable) -> CalibrationRecord:
    """Returns the record of a calibration table in a manifest."""
    return CalibrationRecord(
        digest=table.digest, images=table.images, calibrator=table.calibrator, samples=table.samples
    )


def restore(plan: ExportPlan, traced: TracedModel, calibrated: Calibrated, gate: Gate, report: Reporter) -> Outcome:
    """Finds the operators that must stay in float for the gate to hold on all targets.

    Raises:
        CheckFailed: If it does not hold even with all operators in float.
    """
    outcome = search_fallback(traced, calibrated.table.ranges, plan.int8_recipes, gate, report)
    if not outcome.holds:
        raise CheckFailed(
            f"The gate does not hold even with all {len(outcome.restored)} operators in float: mean KL "
            f"{outcome.trials[-1].mean_kl:.1e}, agreement {outcome.trials[-1].agreement:.2%}.",
            remedy="Loosen --max-kl or --min-agreement, or export a float precision.",
        )
    share = outcome.sensitivity.int8_share[len(outcome.restored)]
    report.line(
        f"the gate holds with {len(outcome.restored)} of {len(outcome.sensitivity.order)} operators in float, "
        f"{share:.1%} of multiply-adds in int8"
    )
    return outcome
