"""``arbex export``: a run becomes a bundle for each target."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from arbex.checkpoint import Run, load_run, open_run
from arbex.errors import CheckFailed, DataError, RunError
from arbex.files import hand_over, staged_folder
from arbex.models import ExpressionClassifier
from arbex.models.custom import Backbone
from arbex.progress import SILENT, Reporter
from arbex.reference import answer
from calibration.samples import DEFAULT_SAMPLES
from export.bundle_writer import seal_bundle, tool_versions, write_archive
from export.calibrated import Calibrated, CalibrationRequest, prepare_int8
from export.faces import drawn_faces
from export.gate import Gate, search_fallback
from export.lowering import Lowering, content_of
from export.replacement import check_replaceable
from export.targets import THRESHOLDS, Target, choose_precisions, choose_targets, require_packages
from export.torch_tensorrt_engine import require_gpu
from export.trace import TracedModel, trace
from quantize.fallback import Outcome
from runtimes.base import Prediction
from runtimes.bundle import Golden, open_bundle, pack_golden
from runtimes.manifest import Artifact, Thresholds
from runtimes.vendor_output import hidden_output
from runtimes.verification import BundleReport, Known, TestImages, verify_bundle

GATE_IMAGES = 256
"""So many of the calibration images, at most, are held in memory to judge on."""


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        run: Folder of the run.
        targets: Names of targets, or ``all``.
        out: Where the bundles go.
        precisions: Wanted precisions; each target's usual ones by default.
        calibration: A data set, or a calibration table (``.json``); by default the run's own data.
        calibrator: Observer; by default the table's, or ``mse``.
        samples: How many images calibrate.
        max_kl: Gate: mean KL of int8 to PyTorch on calibration images. Operators are restored until it holds.
        min_agreement: Gate: top-1 agreement there.
        allow_untrained: Export weights that were never trained.
        builder: ``torch-tensorrt`` compiles the jetson engines on this machine's GPU.
        archive: Also write each bundle as one ``.zip`` file.
        backbone: For a run on a backbone of its own, as for ``load_run``.
    """

    run: Path
    targets: Sequence[str]
    out: Path
    precisions: Sequence[str] = ()
    calibration: str | None = None
    calibrator: str | None = None
    samples: int = DEFAULT_SAMPLES
    max_kl: float | None = None
    min_agreement: float | None = None
    allow_untrained: bool = False
    builder: str = "onnx"
    archive: bool = False
    backbone: Backbone | str | None = None

    @property
    def gated(self) -> bool:
        """Whether int8 must pass a gate on images."""
        return self.max_kl is not None or self.min_agreement is not None


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


def provenance_of(run: Run, calibrated: Calibrated | None, outcome: Outcome | None) -> dict[str, Any]:
    """Returns what a manifest says about where its artifacts came from."""
    config = run.config
    origin: dict[str, Any] = {
        "checkpoint": run.digest,
        "preset": config.preset,
        "method": config.method,
        "epoch": run.epoch,
        "data": Path(config.data.get("path", "")).name,
        "preprocessing": config.preprocessing.digest,
        "tools": tool_versions(),
    }
    if calibrated:
        table = calibrated.table
        origin["calibration"] = {
            "digest": table.digest,
            "images": table.images,
            "calibrator": table.calibrator,
            "samples": list(table.samples),
        }
    if outcome:
        origin["sensitivity"] = outcome.to_json()
    return origin


def thresholds_for(request: ExportRequest, precision: str) -> Thresholds:
    """Returns what an artifact must show; for int8, the command's gate takes precedence."""
    usual = THRESHOLDS[precision]
    if precision != "int8":
        return usual
    return replace(
        usual,
        mean_kl=usual.mean_kl if request.max_kl is None else request.max_kl,
        top1_agreement=usual.top1_agreement if request.min_agreement is None else request.min_agreement,
    )


def first_linear(head: nn.Module) -> NDArray[np.float32]:
    """Returns the weight of the head's first linear layer."""
    layer = next(m for m in head.modules() if isinstance(m, nn.Linear))
    weight: NDArray[np.float32] = layer.weight.detach().numpy()
    return weight


def write_bundle(
    request: ExportRequest,
    target: Target,
    lowering: Lowering,
    golden: bytes,
    origin: dict[str, Any],
    extra: list[TestImages],
    known: Known,
) -> BundleReport:
    """Writes one target's bundle, checks it, and only then puts it in the place of an older one.

    Raises:
        CheckFailed: If it does not answer like PyTorch; an older bundle stays as it is.
    """
    out, traced = request.out / target.name, lowering.traced
    formats = list(target.formats)
    if target.name == "jetson" and request.builder == "torch-tensorrt":
        formats.append("tensorrt-engine")
    artifacts = []
    with staged_folder(out, check=check_replaceable) as folder:
        (folder / "artifacts").mkdir()
        for precision in choose_precisions(target, request.precisions):
            for format_name in formats:
                made = lowering.artifact(target, format_name, precision)
                copy = folder / "artifacts" / made.name
                if made.is_dir():
                    shutil.copytree(made, copy, copy_function=hand_over)
                else:
                    hand_over(made, copy)
                thresholds = thresholds_for(request, precision)
                content = content_of(copy, format_name)
                work = lowering.census(target, format_name, copy).to_json() if precision == "int8" else {}
                artifacts.append(Artifact(f"artifacts/{made.name}", format_name, precision, thresholds, content, work))
        if "calibration" in origin:
            origin = {**origin, "recipe": lowering.recipe(target).to_json()}
        origin = {**origin, "run": os.path.relpath(request.run.resolve(), out.resolve())}
        seal_bundle(folder, target, traced.labels, traced.preprocessing, tuple(artifacts), golden, origin)
        report = check_bundle(folder, out, extra, known)
    (out.parent / f"{out.name}.zip").unlink(missing_ok=True)  # of an older bundle
    return report


def gate_of(
    request: ExportRequest, model: ExpressionClassifier, calibrated: Calibrated | None, golden: Golden
) -> Gate | None:
    """Returns what int8 must show on calibration images and golden vectors, where a gate was asked for."""
    if not request.gated or calibrated is None or calibrated.images is None:
        return None  # export() has refused a gate with a table, which holds no images
    images = calibrated.images.first(GATE_IMAGES)
    sets = TestImages(images, Prediction(*answer(model, images))), TestImages(golden.images, golden.expected)
    return Gate(sets, thresholds_for(request, "int8"))


def restore(
    request: ExportRequest,
    targets: Sequence[Target],
    traced: TracedModel,
    calibrated: Calibrated,
    gate: Gate,
    report: Reporter,
) -> Outcome:
    """Finds the operators that must stay in float for the gate to hold on all targets.

    Raises:
        CheckFailed: If it does not hold with all of them in float.
    """
    recipes = [t.recipe for t in targets if "int8" in choose_precisions(t, request.precisions)]
    outcome = search_fallback(traced, calibrated.table.ranges, recipes, gate, report)
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


def export(request: ExportRequest, *, report: Reporter = SILENT) -> list[BundleReport]:
    """Writes a bundle for each target and checks it.

    Returns:
        A report a bundle, on the golden vectors and, with a gate, on the calibration images.

    Raises:
        InputError: If something given cannot be used, or a folder of ``out`` holds anything but a bundle; nothing is
            written then.
        BackendError: If a vendor's package is missing or refuses.
        CheckFailed: If a bundle does not pass; it is not kept.
    """
    targets = choose_targets(request.targets)
    precisions = {p for target in targets for p in choose_precisions(target, request.precisions)}
    for target in targets:
        check_replaceable(request.out / target.name)
    run = open_run(request.run)
    refuse_untrained(run, request.allow_untrained)
    wish = CalibrationRequest(request.calibration, request.calibrator, request.samples)
    if request.gated and wish.is_table:
        raise DataError(
            f"--max-kl and --min-agreement need images to judge on; {request.calibration} is a table.",
            remedy="Give the images with --calibration DATA, or leave the gates out.",
        )
    require_packages({format_name for target in targets for format_name in target.formats})
    if request.builder == "torch-tensorrt":
        require_gpu()
    model = load_run(request.run, backbone=request.backbone)
    report.line(f"tracing {run.path} ({run.config.preset}, {run.config.method}, epoch {run.epoch})")
    traced = trace(model)
    calibrated = prepare_int8(run, traced, wish, report) if "int8" in precisions else None
    images = drawn_faces(traced.side)
    golden = Golden(images, Prediction(*answer(model, images)))
    gate = gate_of(request, model, calibrated, golden)
    outcome = restore(request, targets, traced, calibrated, gate, report) if calibrated and gate else None
    origin = provenance_of(run, calibrated, outcome)
    packed = pack_golden(golden)
    extra = [gate.sets[0]] if gate else []
    known: Known = {}
    reports = []
    with tempfile.TemporaryDirectory(prefix="arbex-export-") as work:
        lowering = Lowering(
            traced,
            calibrated.table.ranges if calibrated else {},
            outcome.restored if outcome else (),
            first_linear(model.head),
            Path(work),
            report,
        )
        for target in targets:
            reports.append(write_bundle(request, target, lowering, packed, origin, extra, known))
            out = request.out / target.name
            report.line(f"{target.name}: {out}")
            if request.archive:
                report.line(f"{target.name}: {write_archive(out)}")
    return reports


def check_bundle(folder: Path, out: Path, extra: list[TestImages], known: Known) -> BundleReport:
    """Verifies a bundle that lies in ``folder`` and is to become ``out``.

    Raises:
        CheckFailed: If it does not pass.
    """
    with hidden_output():
        report = replace(verify_bundle(open_bundle(folder), extra, known), bundle=str(out))
    if not report.passed:
        bad = next(a for a in report.artifacts if not a.passed)
        raise CheckFailed(
            f"{bad.artifact} for {out.name} does not answer like PyTorch: {bad.why}.",
            remedy="It was not kept. Calibrate on more or better images, loosen --max-kl or --min-agreement, or "
            "export a float precision.",
        )
    return report
