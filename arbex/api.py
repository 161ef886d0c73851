"""The toolkit as a library: what the commands do, as functions with the same names and defaults.

``import arbex`` offers them, and loads them when they are used. This module stands on top of all others, as the command
line does, which calls it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from arbex.errors import InputError
from arbex.progress import SILENT, Reporter
from runtimes.benchmark import Timing
from runtimes.benchmark import benchmark as time_bundle
from runtimes.bundle import Bundle, open_bundle
from runtimes.classification import FaceAnswer
from runtimes.classification import classify as classify_faces
from runtimes.preprocessing import Detector
from runtimes.vendor_output import hidden_output
from runtimes.verification import BundleReport, Verification

__all__ = ["bench", "calibrate", "classify", "evaluate", "export", "load_run", "open_bundle", "train", "verify"]

if TYPE_CHECKING:
    from arbex.evaluation import Evaluation
    from arbex.models import ExpressionClassifier
    from arbex.models.custom import Backbone
    from calibration import CalibrationTable

AnyPath: TypeAlias = "str | Path"

SAMPLES = 256
"""Images that calibrate, where nothing else is said."""


def train(
    data: str,
    *,
    out: AnyPath | None = None,
    preset: str | None = None,
    method: str = "arbex",
    epochs: int | None = None,
    anchors: int = 10,
    image_size: int | None = None,
    seed: int = 0,
    windows: tuple[int, int, int] | None = None,
    init: Sequence[AnyPath] = (),
    new_head: bool = False,
    teacher: AnyPath | None = None,
    teacher_backbone: str | None = None,
    backbone: str | None = None,
    devices: int | None = None,
    resume: bool = False,
    settings: Mapping[str, object] | Sequence[str] = (),
    report: Reporter = SILENT,
) -> Path:
    """Trains a model and writes its run, as ``arbex train`` does.

    Args:
        data: ``PATH`` or ``LAYOUT:PATH``.
        out: Folder of the run; by default a new one under ``runs/``.
        preset: ``tiny``, ``mobile`` or ``base``; ``tiny`` by default.
        method: Name of a method.
        epochs: Passes; the preset's by default, 0 writes the untrained model.
        anchors: Anchors per class.
        image_size: Side of the input in pixels; the preset's by default.
        seed: Of initial weights, choice of images and augmentation.
        windows: Side of the attention window at each level; the preset's by default.
        init: Runs or files of published weights to start from.
        new_head: Take only the encoder from them.
        teacher: A run whose answers are learned too.
        teacher_backbone: The teacher's own backbone, ``package.module:callable``, if it has one.
        backbone: ``package.module:callable`` in place of the preset's encoder.
        devices: Processes on this machine; by default what ``torchrun`` started, else one.
        resume: Continue the run in ``out``.
        settings: Further settings and options of the method, by name or as ``name=value`` texts.
        report: Takes progress.

    Returns:
        The folder of the run.

    Raises:
        InputError: If data, folders or settings cannot be used; nothing is written then.
    """
    from arbex.methods import method_class
    from arbex.settings import PRESET_SETTINGS, assign, override
    from arbex.training.configuration import TrainRequest
    from arbex.training.loop import train as run_training

    if preset and backbone:
        raise InputError("A preset and a backbone exclude each other: a preset is a backbone.")
    if new_head and not init:
        raise InputError("--new-head says what to take from --init, and there is none.")
    preset = preset or ("custom" if backbone else "tiny")
    texts = [f"{name}={value}" for name, value in settings.items()] if isinstance(settings, Mapping) else settings
    options, others = assign(method_class(method).options_type(), texts)
    chosen = override(replace(PRESET_SETTINGS[preset], seed=seed), others, also=options.to_json())
    if out is None:
        out = Path("runs") / time.strftime(f"%Y%m%d-%H%M%S-{preset}-{method}")
        report.line(f"writing to {out} (--out)")
    request = TrainRequest(
        data=data,
        out=Path(out),
        preset=preset,
        method=method,
        settings=chosen if epochs is None else replace(chosen, epochs=epochs),
        anchors=anchors,
        image_size=image_size,
        resume=resume,
        windows=windows,
        init=tuple(map(Path, init)),
        new_head=new_head,
        teacher=Path(teacher) if teacher else None,
        backbone=backbone,
        teacher_backbone=teacher_backbone,
        devices=devices,
        method_options=options,
    )
    run_training(request, report=report)
    return Path(out)


def load_run(path: AnyPath, *, backbone: Backbone | str | None = None) -> ExpressionClassifier:
    """Returns the model of a run in eval mode; see ``arbex.checkpoint.load_run``."""
    from arbex.checkpoint import load_run as load

    return load(path, backbone=backbone)


def evaluate(
    run: AnyPath,
    data: str,
    *,
    split: str = "test",
    max_unreadable: float = 0.01,
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> Evaluation:
    """Measures a run on labeled images, as ``arbex evaluate`` does.

    Args:
        run: Folder of the run.
        data: ``PATH`` or ``LAYOUT:PATH``.
        split: ``train``, ``val`` or ``test``.
        max_unreadable: Share of images that may be left out because they cannot be read.
        backbone: For a run on a backbone of its own, as for ``load_run``.
        report: Takes progress.

    Raises:
        RunError, DataError: If run or data cannot be used or do not belong together.
    """
    from arbex.evaluation import evaluate as measure

    return measure(str(run), data, split, backbone=backbone, most_unreadable=max_unreadable, report=report)


def calibrate(
    run: AnyPath,
    data: str,
    out: AnyPath,
    *,
    samples: int = SAMPLES,
    calibrator: str = "mse",
    shard: tuple[int, int] = (1, 1),
    merge: Sequence[AnyPath] = (),
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> CalibrationTable:
    """Writes a calibration table of a run, as ``arbex calibrate`` does.

    Args:
        run: Folder of the run.
        data: A data set, whose validation split calibrates.
        out: The table to write, a ``.json`` file; histograms go beside it.
        samples: How many images, in all shards.
        calibrator: ``minmax``, ``moving-average``, ``percentile``, ``mse`` or ``entropy``.
        shard: Which part ``(i, n)`` of the images, counted from 1.
        merge: Tables of other shards or data sets, which are added.
        backbone: For a run on a backbone of its own, as for ``load_run``.
        report: Takes progress.

    Raises:
        InputError: If something given cannot be used; nothing is written then.
    """
    from calibration.table_files import check_place

    check_place(Path(out))
    report.line("loading torch")
    with hidden_output():
        from export.int8_calibration import CalibrationRequest, write_calibration
    request = CalibrationRequest(source=data, calibrator=calibrator, samples=samples, shard=shard)
    return write_calibration(
        Path(run), request, Path(out), merge=tuple(map(Path, merge)), backbone=backbone, report=report
    )


def export(
    run: AnyPath | None = None,
    targets: Iterable[str] = ("all",),
    *,
    out: AnyPath | None = None,
    precisions: Sequence[str] = (),
    calibration: str | None = None,
    calibrator: str | None = None,
    samples: int = SAMPLES,
    max_kl: float | None = None,
    min_agreement: float | None = None,
    builder: str = "onnx",
    allow_untrained: bool = False,
    archive: bool = False,
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> list[BundleReport]:
    """Turns a run into a bundle per target, each checked against PyTorch, as ``arbex export`` does.

    Args:
        run: Folder of the run; by default the newest one under ``runs/``.
        targets: Names of targets, or ``all``.
        out: Where the bundles go; ``bundles`` by default.
        precisions: ``fp32``, ``fp16`` or ``int8``; by default each target's usual ones.
        calibration: Images or a table for int8; by default the run's own validation images.
        calibrator: Observer; by default the table's, or ``mse``.
        samples: How many images calibrate.
        max_kl: Gate: operators go back to float until the mean KL of int8 to PyTorch holds, in nats.
        min_agreement: Gate: the same for top-1 agreement, in [0, 1].
        builder: ``torch-tensorrt`` also compiles jetson's engines on this machine's GPU.
        allow_untrained: Export random weights.
        archive: Also write each bundle as one ``.zip`` file.
        backbone: For a run on a backbone of its own, as for ``load_run``.
        report: Takes progress, and each default that was taken.

    Raises:
        InputError: If something given cannot be used; nothing is written then.
        BackendError: If a vendor's package is missing or refuses.
        CheckFailed: If a bundle does not pass; it is not kept.
    """
    from export.registry import choose_precisions, choose_targets
    from export.replacement import check_replaceable

    chosen = choose_targets(tuple(targets))
    if out is None:
        out = Path("bundles")
        report.line(f"writing to {out}/ (--out)")
    for target in chosen:
        taken = choose_precisions(target, precisions)
        check_replaceable(Path(out) / target.name)
        if not precisions:
            report.line(f"{target.name}: {' and '.join(taken)} (--precision)")
    report.line("loading torch and the converters")
    with hidden_output():
        from arbex.checkpoint import newest_run
        from export.pipeline import export as write_bundles
        from export.plan import ExportRequest
    if run is None:
        run = newest_run()
        report.line(f"exporting {run} (RUN)")
    request = ExportRequest(
        run=Path(run),
        targets=[target.name for target in chosen],
        out=Path(out),
        precisions=precisions,
        calibration=calibration,
        calibrator=calibrator,
        samples=samples,
        max_kl=max_kl,
        min_agreement=min_agreement,
        allow_untrained=allow_untrained,
        builder=builder,
        archive=archive,
        backbone=backbone,
    )
    return write_bundles(request, report=report)


def verify(
    bundles: AnyPath | Sequence[AnyPath],
    *,
    data: str | None = None,
    split: str = "test",
    limit: int | None = None,
    max_kl: float | None = None,
    min_agreement: float | None = None,
    reference: AnyPath | None = None,
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> Verification:
    """Checks bundles: every byte, golden vectors, distributions on images, as ``arbex verify`` does.

    Args:
        bundles: Folders of bundles, or one of them.
        data: Images to compare on, a data set or any folder of cropped faces; None checks golden vectors only.
        split: Which split of them, where there are any.
        limit: Most images, chosen evenly; None takes all.
        max_kl: Limit of the mean KL on them, in nats; by default the bundle's.
        min_agreement: Limit of the top-1 agreement on them, in [0, 1]; by default the bundle's.
        reference: The run to compare with; by default the one that was exported.
        backbone: For a run on a backbone of its own, as for ``load_run``.
        report: Takes progress.

    Raises:
        InputError: If a bundle does not exist, or images or run cannot be used.
        MissingPackageError: If images are to be compared on without torch.
    """
    from export.verification import VerificationRequest
    from export.verification import verify as check

    request = VerificationRequest(
        bundles=[Path(bundles)] if isinstance(bundles, str | Path) else list(map(Path, bundles)),
        data=data,
        split=split,
        limit=limit,
        max_kl=max_kl,
        min_agreement=min_agreement,
        reference=Path(reference) if reference else None,
        backbone=backbone,
    )
    return check(request, report=report)


def classify(
    bundle: AnyPath | Bundle,
    images: AnyPath | Sequence[AnyPath],
    *,
    artifact: str | None = None,
    detector: AnyPath | None = None,
    threads: int | None = None,
) -> list[FaceAnswer]:
    """Classifies the faces of images, folders or a video, as ``arbex run`` does.

    Args:
        bundle: Folder of a bundle, or an opened one.
        images: Image files, folders or video files, or one of them.
        artifact: File name or precision; by default the most exact one that runs here.
        detector: A YuNet ONNX file that finds faces; without one every picture is a cropped face.
        threads: How many the runtime uses; its own choice by default.

    Raises:
        DataError: If an image cannot be read.
        BundleError: If the bundle is missing, incomplete, altered or damaged.
        BackendError: If nothing here runs the artifact.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    finder = Detector(Path(detector)) if detector else None
    paths = [Path(images)] if isinstance(images, str | Path) else list(map(Path, images))
    with hidden_output():
        return list(classify_faces(opened, paths, artifact=artifact, detector=finder, threads=threads))


def bench(bundle: AnyPath | Bundle, *, threads: int = 1) -> list[Timing]:
    """Times every artifact of a bundle that runs here, at batch 1, as ``arbex bench`` does.

    Args:
        bundle: Folder of a bundle, or an opened one.
        threads: How many the runtime uses.

    Raises:
        BundleError: If the bundle is missing, incomplete, altered or damaged.
    """
    return time_bundle(bundle if isinstance(bundle, Bundle) else open_bundle(bundle), threads=threads)
