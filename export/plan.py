"""The request for an export, and the plan that follows from it before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from arbex.checkpoint import Run, open_run
from arbex.errors import DataError, InputError, RunError
from arbex.models.head import Temperatures
from arbex.provenance import Recipe
from calibration.samples import DEFAULT_SAMPLES
from export.formats.base import Writer
from export.int8_calibration import CalibrationRequest
from export.registry import DEFAULT_BUILDER, choose_precisions, choose_targets, choose_writers
from export.replacement import check_replaceable
from export.targets import CALIBRATED_GOLDEN_KL, GOLDEN_KL, THRESHOLDS, Target
from runtimes.manifest import Thresholds

if TYPE_CHECKING:
    from arbex.models.custom import Backbone


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to export.

    Attributes:
        run: Folder of the run.
        targets: Names of targets, or ``all``.
        out: Folder of the bundles.
        precisions: Wanted precisions; by default each target's usual ones.
        calibration: Data set, or calibration table (``.json``); by default the run's own data.
        calibrator: Name of the observer; by default the table's, or ``auto``.
        samples: Number of calibration images.
        max_kl: Gate: largest mean KL of int8 to PyTorch on calibration images, in nats. Operators are restored to float
            until it holds.
        min_agreement: Gate: smallest top-1 agreement on these images, in [0, 1].
        allow_untrained: Whether to export untrained weights.
        builder: What compiles engines on this machine; ``onnx`` leaves that to the device.
        archive: Whether to write each bundle as one ``.zip`` file too.
        backbone: Custom backbone of the run, as for ``load_run``.
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
    builder: str = DEFAULT_BUILDER
    archive: bool = False
    backbone: Backbone | str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedBundle:
    """A bundle that is to be written.

    Attributes:
        target: Its target.
        out: Its folder.
        writers: Writers of its artifacts, in order.
        precisions: Precisions of its artifacts, in order.
    """

    target: Target
    out: Path
    writers: tuple[Writer, ...]
    precisions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What an export is going to do: the request, resolved and found possible.

    Attributes:
        run: Run to export.
        backbone: Custom backbone of the run, as for ``load_run``.
        bundles: Bundles to write.
        calibration: How INT8 is calibrated.
        gated: Whether INT8 must pass a gate on images.
        thresholds: Limits of the artifacts by precision.
        archive: Whether each bundle is also written as one ``.zip`` file.
    """

    run: Run
    backbone: Backbone | str | None
    bundles: tuple[PlannedBundle, ...]
    calibration: CalibrationRequest
    gated: bool
    thresholds: Mapping[str, Thresholds]
    archive: bool

    @property
    def int8_recipes(self) -> list[Recipe]:
        """The recipes of the INT8 artifacts, each once; empty if there are none."""
        return list(dict.fromkeys(b.target.recipe for b in self.bundles if "int8" in b.precisions))


def plan_export(request: ExportRequest) -> ExportPlan:
    """Resolves a request, and checks that it can be carried out.

    Raises:
        UnsupportedError: If a target, precision or builder is unknown.
        InputError: If the folder of a bundle holds anything but an earlier bundle, or options have no effect.
        RunError: If the run cannot be used, or was never trained and that is not allowed.
        DataError: If a gate has no images to judge on.
        MissingPackageError, BackendError: If a format needs something that is missing.
    """
    bundles = plan_bundles(request)
    run = open_run(request.run)
    refuse_untrained(run, request.allow_untrained)
    asked = {"mean_kl": request.max_kl, "top1_agreement": request.min_agreement}
    gate = THRESHOLDS["int8"].overridden({name: value for name, value in asked.items() if value is not None})
    golden = GOLDEN_KL if run.calibration.temperatures == Temperatures() else CALIBRATED_GOLDEN_KL
    gate = replace(gate, golden_kl=max(golden, request.max_kl or 0.0))
    plan = ExportPlan(
        run=run,
        backbone=request.backbone,
        bundles=bundles,
        calibration=CalibrationRequest(
            source=request.calibration, calibrator=request.calibrator, samples=request.samples
        ),
        gated=request.max_kl is not None or request.min_agreement is not None,
        thresholds={**THRESHOLDS, "int8": gate},
        archive=request.archive,
    )
    refuse_gate_without_images(plan)
    refuse_int8_options(request, plan)
    return plan


def plan_bundles(request: ExportRequest) -> tuple[PlannedBundle, ...]:
    """Returns the bundles of a request, after checking that they can be written; see ``plan_export``."""
    bundles = tuple(
        PlannedBundle(
            target=target,
            out=request.out / target.name,
            writers=choose_writers(target, request.builder),
            precisions=choose_precisions(target, request.precisions),
        )
        for target in choose_targets(request.targets)
    )
    for bundle in bundles:
        check_replaceable(bundle.out)
    for writer in dict.fromkeys(writer for bundle in bundles for writer in bundle.writers):
        writer.require()
    return bundles


def refuse_untrained(run: Run, allowed: bool) -> None:
    """Refuses weights that were never trained.

    Raises:
        RunError: If they were not and that is not allowed.
    """
    if run.epoch == 0 and not allowed:
        raise RunError(
            f"{run.path} was never trained: its weights, and so its answers, are random.",
            remedy="Train it with arbex train, or export it anyway with --allow-untrained.",
        )


def refuse_int8_options(request: ExportRequest, plan: ExportPlan) -> None:
    """Refuses options of INT8 where nothing is exported in INT8: a gate must not seem to hold that was never judged.

    Raises:
        InputError: If there are such options.
    """
    options = {
        "--max-kl": request.max_kl,
        "--min-agreement": request.min_agreement,
        "--calibration": request.calibration,
        "--calibrator": request.calibrator,
    }
    given = [name for name, value in options.items() if value is not None]
    if given and not plan.int8_recipes:
        precisions = ", ".join(sorted({precision for bundle in plan.bundles for precision in bundle.precisions}))
        raise InputError(
            f"{' and '.join(given)} would have no effect, since nothing is exported in int8, but in {precisions}.",
            remedy="Add --precision int8, or leave these options out.",
        )


def refuse_gate_without_images(plan: ExportPlan) -> None:
    """Refuses a gate that has no images to judge on.

    Raises:
        DataError: If calibration starts from a table, which holds no images.
    """
    if plan.gated and plan.calibration.is_table:
        raise DataError(
            f"--max-kl and --min-agreement need images to judge on; {plan.calibration.source} is a calibration table.",
            remedy="Give the images with --calibration DATA, or leave these options out.",
        )
