"""``arbex export``: a run becomes a bundle for each target."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from arbex.checkpoint import Run, load_run, open_run
from arbex.errors import CheckFailed, RunError
from arbex.files import staged_folder
from arbex.progress import SILENT, Reporter
from arbex.provenance import CalibrationRecord, Provenance, Tradeoff
from arbex.reference import answer
from calibration import CalibrationTable
from export.bundle_writer import copy_artifact, export_tools, seal_bundle, write_archive
from export.channel_equalization import equalize_channels
from export.gate import Gate, gate_on, search_fallback
from export.golden_images import drawn_faces
from export.int8_calibration import Calibrated, prepare_int8
from export.lowering import Lowering
from export.plan import ExportPlan, ExportRequest, PlannedBundle, plan_export
from export.programs import Programs
from export.replacement import check_replaceable
from export.trace import TracedModel, trace
from quantize.fallback import Outcome
from runtimes.base import Prediction
from runtimes.bundle import Golden, open_bundle
from runtimes.comparison_images import ComparisonImages
from runtimes.manifest import Artifact, Manifest, Thresholds
from runtimes.vendor_output import hidden_output
from runtimes.verification import BundleReport, Known, verify_bundle


def export(request: ExportRequest, *, report: Reporter = SILENT) -> list[BundleReport]:
    """Writes a bundle for each target and checks it.

    Returns:
        A report per bundle, on the golden vectors and, with a gate, on the calibration images.

    Raises:
        InputError: If something given cannot be used, or a folder of ``out`` holds anything but a bundle; nothing is
            written then.
        BackendError: If a vendor's package is missing or refuses.
        CheckFailed: If a bundle does not pass; it is not kept.
    """
    plan = plan_export(request)
    run = open_run(request.run)
    refuse_untrained(run, request.allow_untrained)
    model = load_run(request.run, backbone=request.backbone)
    report.line(f"tracing {run.path} ({run.config.preset}, {run.config.method}, epoch {run.epoch})")
    traced = equalize_channels(trace(model))
    images = drawn_faces(traced.side)
    golden = Golden(images, Prediction(*answer(model, images)))
    calibrated = prepare_int8(run, traced, request.calibrating, report) if plan.int8_recipes else None
    gate = None
    if request.gated and calibrated and calibrated.images:
        gate = gate_on(calibrated.images, model, golden, plan.thresholds["int8"])
    outcome = restore(plan, traced, calibrated, gate, report) if calibrated and gate else None
    with tempfile.TemporaryDirectory(prefix="arbex-export-") as work:
        programs = Programs(traced, calibrated.table.ranges if calibrated else {}, outcome.restored if outcome else ())
        bundler = Bundler(
            lowering=Lowering(programs, Path(work), report),
            thresholds=plan.thresholds,
            golden=golden,
            provenance=provenance_of(run, calibrated, outcome.tradeoff if outcome else None),
            run=request.run,
            extra=gate.sets[:1] if gate else (),
        )
        return [bundler.write(bundle, report, archive=request.archive) for bundle in plan.bundles]


def refuse_untrained(run: Run, allowed: bool) -> None:
    """Refuses weights that were never trained.

    Raises:
        RunError: If they were not and that is not allowed.
    """
    if run.epoch == 0 and not allowed:
        raise RunError(
            f"{run.path} was never trained: its weights are random, and so would be every answer on the device.",
            remedy="Train it with arbex train, or export it all the same with --allow-untrained.",
        )


def provenance_of(run: Run, calibrated: Calibrated | None, tradeoff: Tradeoff | None) -> Provenance:
    """Returns what a manifest says about where its artifacts came from, whatever the target."""
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
    """Returns what a manifest says about a calibration table."""
    return CalibrationRecord(
        digest=table.digest, images=table.images, calibrator=table.calibrator, samples=table.samples
    )


def restore(plan: ExportPlan, traced: TracedModel, calibrated: Calibrated, gate: Gate, report: Reporter) -> Outcome:
    """Finds the operators that must stay in float for the gate to hold on all targets.

    Raises:
        CheckFailed: If it does not hold with all of them in float.
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


@dataclass(kw_only=True)
class Bundler:
    """Writes and checks the bundles of one export.

    Attributes:
        lowering: Makes the files.
        thresholds: What artifacts must show, by precision.
        golden: Test vectors.
        provenance: Where all bundles came from.
        run: Folder of the run.
        extra: Images to check on, beyond the golden vectors.
        known: What files that bundles share have answered.
    """

    lowering: Lowering
    thresholds: Mapping[str, Thresholds]
    golden: Golden
    provenance: Provenance
    run: Path
    extra: Sequence[ComparisonImages]
    known: Known = field(default_factory=dict)

    def write(self, bundle: PlannedBundle, report: Reporter, *, archive: bool = False) -> BundleReport:
        """Writes one bundle, checks it, and only then puts it in the place of an older one.

        Raises:
            CheckFailed: If it does not answer like PyTorch; an older bundle stays as it is.
        """
        out, traced = bundle.out, self.lowering.programs.traced
        with staged_folder(out, check=check_replaceable) as folder:
            manifest = Manifest(
                target=bundle.target.name,
                labels=traced.labels,
                preprocessing=traced.preprocessing,
                artifacts=tuple(self.artifacts(bundle, folder)),
                provenance=self.provenance_for(bundle),
            )
            seal_bundle(folder, manifest, bundle.target, self.golden)
            outcome = self.check(folder, out)
        report.line(f"{bundle.target.name}: {out}")
        (out.parent / f"{out.name}.zip").unlink(missing_ok=True)  # of an older bundle
        if archive:
            report.line(f"{bundle.target.name}: {write_archive(out)}")
        return outcome

    def artifacts(self, bundle: PlannedBundle, folder: Path) -> Iterator[Artifact]:
        """Makes the artifacts of a bundle, and yields what the manifest says of each."""
        for precision in bundle.precisions:
            variant = self.lowering.programs.variant(bundle.target, precision)
            for writer in bundle.writers:
                copy = copy_artifact(self.lowering.file(writer, variant), folder)
                read = writer.format.read_content
                yield Artifact(
                    file=copy.relative_to(folder).as_posix(),
                    format=writer.format.name,
                    precision=precision,
                    thresholds=self.thresholds[precision],
                    content=read(copy) if read else {},
                    work=self.lowering.work(writer, variant),
                )

    def provenance_for(self, bundle: PlannedBundle) -> Provenance:
        """Returns where one bundle came from."""
        run = os.path.relpath(self.run.resolve(), bundle.out.resolve())
        if "int8" not in bundle.precisions:
            return replace(self.provenance, run=run)
        recipe = self.lowering.programs.variant(bundle.target, "int8").recipe
        return replace(self.provenance, run=run, recipe=recipe)

    def check(self, folder: Path, out: Path) -> BundleReport:
        """Verifies a bundle that lies in ``folder`` and is to become ``out``.

        Raises:
            CheckFailed: If it does not pass.
        """
        with hidden_output():
            report = replace(verify_bundle(open_bundle(folder), self.extra, self.known), bundle=str(out))
        if not report.passed:
            bad = next(a for a in report.artifacts if not a.passed)
            raise CheckFailed(
                f"{bad.artifact} for {out.name} does not answer like PyTorch: {bad.why}.",
                remedy="It was not kept. Calibrate on more or better images, loosen --max-kl or --min-agreement, or "
                "export a float precision.",
            )
        return report
