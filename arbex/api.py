"""The toolkit as a library: a function for each command that works on a model, with the same defaults.

``import arbex`` exposes these functions and imports them on first use. This module depends on all others; only the
command line depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from arbex.progress import SILENT, Reporter
from runtimes.benchmark import Timing
from runtimes.benchmark import benchmark as time_bundle
from runtimes.bundle import Bundle, open_bundle
from runtimes.classification import FaceAnswer
from runtimes.classification import classify as classify_faces
from runtimes.emulation.processors import find_processors
from runtimes.limits import check_limits, parse_limits
from runtimes.outcomes import BundleReport, Verification
from runtimes.preprocessing import Detector
from runtimes.vendor_output import hidden_output

__all__ = ["bench", "calibrate", "classify", "evaluate", "export", "load_run", "open_bundle", "train", "verify"]

if TYPE_CHECKING:
    from arbex.evaluation.scores import Evaluation
    from arbex.models import ExpressionClassifier
    from arbex.models.custom import Backbone
    from calibration import CalibrationTable

AnyPath: TypeAlias = "str | Path"

SAMPLES = 256
"""Default number of calibration images."""


def train(
    data: str,
    *,
    out: AnyPath | None = None,
    preset: str | None = None,
    method: str | None = None,
    epochs: int | None = None,
    anchors: int | None = None,
    image_size: int | None = None,
    seed: int | None = None,
    coverage: float | None = None,
    windows: tuple[int, ...] | None = None,
    init: Sequence[AnyPath] = (),
    new_head: bool = False,
    teacher: AnyPath | None = None,
    teacher_backbone: str | None = None,
    backbone: str | None = None,
    devices: int | None = None,
    folds: int | str | None = None,
    resume: bool = False,
    settings: Mapping[str, object] | Sequence[str] = (),
    report: Reporter = SILENT,
) -> Path:
    """Trains a model and writes its run, as ``arbex train`` does.

    With ``resume``, everything that is not given is as in the run; only ``epochs``, ``patience``, ``calibrate`` and
    ``coverage`` may change.

    Args:
        data: ``PATH`` or ``LAYOUT:PATH``.
        out: Folder of the run; by default a new one under ``runs/``.
        preset: ``tiny``, ``small``, ``mobile`` or ``base``; ``tiny`` by default.
        method: Name of the method; ``arbex`` by default.
        epochs: Number of epochs; the preset's by default. 0 writes the untrained model.
        anchors: Anchors per class; 10 by default.
        image_size: Side of the input in pixels; the preset's by default.
        seed: Seed of the initial weights, the choice of images and the augmentation; 0 by default.
        coverage: Share of the validation images whose confidence shall suffice, in [0.01, 1]; answers that are less
            confident count as unsure. 1 by default: every answer counts.
        windows: Side of the attention window at each level; the preset's by default.
        init: Runs, or files of published weights, to start from. The head is taken over from a run with the same
            classes in the same order only.
        new_head: Whether to take only the encoder from ``init`` in any case.
        teacher: Run from whose answers the model learns, too.
        teacher_backbone: Custom backbone of the teacher, ``package.module:callable``, if it has one.
        backbone: ``package.module:callable`` in place of the preset's encoder.
        devices: Number of processes on this machine; by default as many as ``torchrun`` started, or one.
        folds: Number of folds of a cross-validation over people, or ``people`` for one fold each; ``out`` then holds a
            run per fold, and ``folds.json`` with the figures of all. The data must be of known people without splits.
        resume: Whether to continue the run in ``out``.
        settings: Further settings and options of the method, by name or as ``name=value`` strings.
        report: Receives progress.

    Returns:
        The folder of the run.

    Raises:
        InputError: If data, folders or settings cannot be used; nothing is written then.
    """
    from arbex.training.arguments import TrainArguments, as_texts, make_request, new_folder
    from arbex.training.loop import train as run_training

    given = TrainArguments(
        data=data,
        out=Path(out) if out else None,
        preset=preset,
        method=method,
        epochs=epochs,
        anchors=anchors,
        image_size=image_size,
        seed=seed,
        coverage=coverage,
        windows=windows,
        init=tuple(map(Path, init)),
        new_head=new_head,
        teacher=Path(teacher) if teacher else None,
        teacher_backbone=teacher_backbone,
        backbone=backbone,
        devices=devices,
        resume=resume,
        settings=as_texts(settings),
    )
    if folds is not None:
        from arbex.training.folds import cross_validate

        given = replace(given, out=given.out or new_folder(given.preset, given.method))
        cross_validate(given, str(folds), report)
        assert given.out is not None
        return given.out
    request = make_request(given)
    if out is None:
        report.line(f"writing to {request.out} (--out)")
    run_training(request, report=report)
    return request.out


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
    mapping: Sequence[str] | Mapping[str, str] = (),
    mirrored: bool = False,
    plots: AnyPath | None = None,
    by: str | None = None,
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> Evaluation:
    """Measures a run on labeled images, as ``arbex evaluate`` does.

    Args:
        run: Folder of the run.
        data: ``PATH`` or ``LAYOUT:PATH``.
        split: ``train``, ``val`` or ``test``, or ``all`` of them together.
        max_unreadable: Share of images that may be left out because they cannot be read, in [0, 1].
        mapping: Which class of the run each class of the data stands for, as ``own=class`` texts or a mapping; ``-`` as
            the class leaves its images out. A class that is not named keeps its name.
        mirrored: Whether to average the answers for each image and its mirror image, which costs twice the time and
            which no exported artifact does by itself.
        plots: Folder in which to draw the reliability diagram and the risk-coverage curve; None for no plots.
        by: Column of ``labels.csv`` in ``data``; accuracy is also measured in each group of images with one value.
        backbone: Custom backbone of the run, as for ``load_run``.
        report: Receives progress.

    Returns:
        Scores of the corrected and of the primary distribution.

    Raises:
        RunError, DataError: If run or data cannot be used or do not belong together.
        MissingPackageError: If plots are asked for and matplotlib is not installed.
    """
    from arbex.data.class_map import parse_map
    from arbex.evaluation.runs import evaluate as measure

    return measure(
        str(run),
        data,
        split,
        backbone=backbone,
        most_unreadable=max_unreadable,
        mapping=mapping if isinstance(mapping, Mapping) else parse_map(mapping),
        mirrored=mirrored,
        plots=Path(plots) if plots else None,
        by=by,
        report=report,
    )


def calibrate(
    run: AnyPath,
    data: str,
    out: AnyPath,
    *,
    samples: int = SAMPLES,
    calibrator: str = "auto",
    shard: tuple[int, int] = (1, 1),
    merge: Sequence[AnyPath] = (),
    backbone: Backbone | str | None = None,
    report: Reporter = SILENT,
) -> CalibrationTable:
    """Calibrates a run and writes the table, as ``arbex calibrate`` does.

    Args:
        run: Folder of the run.
        data: Data set; its validation split is used.
        out: Table to write, a ``.json`` file; the histograms are written next to it.
        samples: Number of images over all shards.
        calibrator: Name of the observer: ``minmax``, ``moving-average``, ``percentile``, ``mse`` or ``entropy``. With
            ``auto``, ``mse`` cuts a tensor's range only where ``minmax`` changes the answers more.
        shard: Part ``(i, n)`` of the images to use, counted from 1.
        merge: Tables of other shards or data sets to add.
        backbone: Custom backbone of the run, as for ``load_run``.
        report: Receives progress.

    Returns:
        The table that was written, including the merged ones.

    Raises:
        InputError: If an argument cannot be used; nothing is written then.
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
        out: Folder of the bundles; ``bundles`` by default.
        precisions: ``fp32``, ``fp16`` or ``int8``; by default each target's usual ones.
        calibration: Calibration images, or a calibration table, for int8; by default the run's own validation images.
        calibrator: Name of the observer; by default the table's, or ``auto``.
        samples: Number of calibration images.
        max_kl: Gate: operators are restored to float until the mean KL of int8 to PyTorch is at most this, in nats.
        min_agreement: Gate: operators are restored to float until the top-1 agreement is at least this, in [0, 1].
        builder: ``torch-tensorrt`` also compiles jetson's engines on this machine's GPU.
        allow_untrained: Whether to export untrained weights.
        archive: Whether to write each bundle as one ``.zip`` file too.
        backbone: Custom backbone of the run, as for ``load_run``.
        report: Receives progress, and each default that was chosen.

    Returns:
        A report per bundle, on the golden vectors and, with a gate, on the calibration images.

    Raises:
        InputError: If an argument cannot be used; nothing is written then.
        BackendError: If a vendor's package is missing or fails.
        CheckFailed: If a bundle does not pass its checks; it is not kept.
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
    thresholds: Sequence[str] | Mapping[str, float | None] = (),
    by: str | None = None,
    reference: AnyPath | None = None,
    backbone: Backbone | str | None = None,
    cpu: Sequence[str] = (),
    evaluator: bool = False,
    explain: bool = False,
    compare: AnyPath | None = None,
    report: Reporter = SILENT,
) -> Verification:
    """Checks bundles, as ``arbex verify`` does: every byte, the golden vectors, the distributions on images.

    Args:
        bundles: Folders of bundles, or one folder.
        data: Images to compare on: a data set or any folder of cropped faces. None checks the golden vectors only.
        split: Split of the data, if it has splits.
        limit: Largest number of images, chosen evenly; None takes all.
        max_kl: Largest mean KL on these images, in nats; by default the bundle's limit.
        min_agreement: Smallest top-1 agreement on these images, in [0, 1]; by default the bundle's limit.
        thresholds: Further limits on these images by name, as ``name=value`` texts or a mapping; ``none`` lifts one.
        by: Column of ``labels.csv`` in ``data``; the agreement is also judged in each group of images with one value.
        reference: Run to compare with; by default the one that was exported.
        backbone: Custom backbone of the run, as for ``load_run``.
        cpu: Names of processors to emulate in addition to that of this machine; ``all`` stands for every one.
        evaluator: On a Mac, whether to compare Core ML with the evaluator that runs its packages on other systems.
        explain: Whether to find, for each artifact that fails, the first operator at which it parts from its program.
        compare: What ``arbex verify --json`` printed before; the outcome also says what changed since.
        report: Receives progress.

    Returns:
        The reports of all bundles; ``passed`` tells whether every bundle passed.

    Raises:
        InputError: If a bundle does not exist, images or run cannot be used, or limits are given without images.
        UnsupportedError: If a processor is not known, or cannot be emulated.
        BackendError: If an emulator is not set up.
        MissingPackageError: If ``data`` or ``explain`` is given and torch is not installed.
    """
    from export.verification import VerificationRequest
    from export.verification import verify as check

    shorthands = {"mean_kl": max_kl, "top1_agreement": min_agreement}
    limits: dict[str, float | None] = {name: value for name, value in shorthands.items() if value is not None}
    limits |= check_limits(thresholds) if isinstance(thresholds, Mapping) else parse_limits(thresholds)
    request = VerificationRequest(
        bundles=[Path(bundles)] if isinstance(bundles, str | Path) else list(map(Path, bundles)),
        data=data,
        split=split,
        limit=limit,
        limits=limits,
        by=by,
        reference=Path(reference) if reference else None,
        backbone=backbone,
        processors=find_processors(cpu),
        evaluate=evaluator,
        explain=explain,
        earlier=Path(compare) if compare else None,
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
    """Classifies the faces in images, folders and videos, as ``arbex run`` does.

    Args:
        bundle: Folder of a bundle, or an opened one.
        images: Image files, folders or video files, or one of them.
        artifact: File name or precision; by default the most accurate one that runs on this machine.
        detector: YuNet ONNX file that detects faces; without it, every image is taken as one cropped face.
        threads: Number of threads of the runtime; by default its own choice.

    Returns:
        An answer for every face, in order.

    Raises:
        DataError: If an image cannot be read.
        BundleError: If the bundle is missing, incomplete, altered or damaged.
        BackendError: If the artifact does not run on this machine, or OpenCV is needed and missing.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    finder = Detector(Path(detector)) if detector else None
    paths = [Path(images)] if isinstance(images, str | Path) else list(map(Path, images))
    with hidden_output():
        return list(classify_faces(opened, paths, artifact=artifact, detector=finder, threads=threads))


def bench(bundle: AnyPath | Bundle, *, threads: int = 1) -> list[Timing]:
    """Times every artifact of a bundle that runs on this machine, at batch 1, as ``arbex bench`` does.

    Args:
        bundle: Folder of a bundle, or an opened one.
        threads: Number of threads of the runtime.

    Returns:
        A row per artifact whose format runs on this machine; a row without figures says why the artifact did not run.

    Raises:
        BundleError: If the bundle is missing, incomplete, altered or damaged.
    """
    return time_bundle(bundle if isinstance(bundle, Bundle) else open_bundle(bundle), threads=threads)
