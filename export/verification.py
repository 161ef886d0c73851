"""Checking bundles against the runs that they were exported from. Only comparing on images needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arbex.data.groups import read_groups
from arbex.errors import BundleError, InputError, MissingPackageError, RunError
from arbex.progress import SILENT, Reporter
from runtimes.base import Prediction
from runtimes.bundle import Bundle, open_bundle
from runtimes.changes import changes_since, read_states
from runtimes.comparison_images import PART, ComparisonImages, ImageFiles, Pixels, list_images
from runtimes.compilation import BuildCache
from runtimes.coreml_runtime import EVALUATOR_PACKAGES
from runtimes.emulation.processors import Processor
from runtimes.limits import LIFTED, SHORTHANDS, Limits
from runtimes.outcomes import BundleReport, Verification
from runtimes.registry import FORMATS, default_environment
from runtimes.vendor_output import hidden_output
from runtimes.verification import ReportCache, broken_bundle, verify_bundle

if TYPE_CHECKING:
    from arbex.models import ExpressionClassifier
    from arbex.models.custom import Backbone


@dataclass(frozen=True, kw_only=True)
class VerificationRequest:
    """What to check.

    Attributes:
        bundles: Folders of bundles.
        data: Images to compare on: a data set or any folder of cropped faces. None checks the golden vectors only.
        split: Split of the data, if it has splits.
        limit: Largest number of images, chosen evenly; None takes all.
        limits: Limits on these images in place of the bundle's.
        by: Column of the data's ``labels.csv`` whose values group the images; None makes no groups.
        reference: Run to compare with; None stands for the one that was exported.
        backbone: Custom backbone of the run, as for ``load_run``.
        processors: Processors to emulate in addition to that of this machine.
        evaluate: Whether to compare Core ML with the evaluator of its packages, where both run.
        explain: Whether to find the operator at which an artifact that fails parts from its program.
        earlier: What ``arbex verify --json`` printed before, to compare with; None compares with nothing.
    """

    bundles: Sequence[Path]
    data: str | None = None
    split: str = "test"
    limit: int | None = None
    limits: Limits = field(default_factory=dict)
    by: str | None = None
    reference: Path | None = None
    backbone: Backbone | str | None = None
    processors: Sequence[Processor] = ()
    evaluate: bool = False
    explain: bool = False
    earlier: Path | None = None


def verify(request: VerificationRequest, *, report: Reporter = SILENT) -> Verification:
    """Checks bundles: every byte, the golden vectors, and the distributions on images.

    Returns:
        A report per bundle; that of a damaged one says why it could not be opened.

    Raises:
        BundleError: If a bundle does not exist.
        InputError: If limits of images are given without images, or the earlier verification cannot be read.
        BackendError: If an emulator is not set up.
        RunError, DataError: If the reference or the images cannot be used.
        MissingPackageError: If the request has images, or asks for explanations or the evaluator, and torch is not
            installed.
    """
    refuse_limits_without_images(request)
    for package in EVALUATOR_PACKAGES if request.evaluate else ():
        package.require()
    if request.evaluate and not any(known.evaluator for known in FORMATS.values()):
        report.line("--evaluator changes nothing here: only on a Mac does Core ML run beside the evaluator")
    for processor in request.processors:
        default_environment().check(processor)
    before = read_states(request.earlier) if request.earlier else None
    verifier = Verifier(request, report)
    bundles = tuple(verifier.check(path) for path in without_archives(request.bundles, report))
    return Verification(bundles, None if before is None else changes_since(before, bundles))


def without_archives(paths: Sequence[Path], report: Reporter) -> list[Path]:
    """Returns the paths of bundles without archives of the same bundles, as ``bundles/*`` names both."""
    kept = []
    for path in paths:
        if path.suffix == ".zip" and path.is_file() and path.with_suffix("") in paths:
            report.line(f"{path}: the archive of {path.with_suffix('')}, which is verified as a folder")
        else:
            kept.append(path)
    return kept


def option_of(name: str, value: float | None) -> str:
    """Returns the option that gives a limit."""
    if name in SHORTHANDS and value is not None:
        return f"{SHORTHANDS[name]} {value}"
    return f"--threshold {name}={LIFTED if value is None else value}"


def refuse_limits_without_images(request: VerificationRequest) -> None:
    """Refuses what only applies to images where none are given; the golden vectors have the bundle's own limits.

    Raises:
        InputError: If there is such a value.
    """
    given = [option_of(name, value) for name, value in request.limits.items()]
    for option, value in (("--limit", request.limit), ("--by", request.by)):
        given += [] if value is None else [f"{option} {value}"]
    if given and request.data is None:
        raise InputError(
            f"{' and '.join(given)} would have no effect, since there are no images to compare on.",
            remedy="Give the images with --data, or leave these options out: golden vectors are judged by the bundle's "
            "limits.",
        )


@dataclass
class Verifier:
    """Checks bundles one by one; those of one run share PyTorch's answers, and the reports of their common files.

    Attributes:
        request: What to check.
        report: Receives progress.
        images: Images with PyTorch's answers, by checkpoint and side.
        caches: Reports of shared files, by checkpoint and side.
        builds: What the compiler of NVIDIA's GPUs made of their ONNX files.
    """

    request: VerificationRequest
    report: Reporter
    images: dict[tuple[str, int], ComparisonImages] = field(default_factory=dict)
    caches: dict[tuple[str, int], ReportCache] = field(default_factory=dict)
    builds: BuildCache = field(default_factory=dict)

    def check(self, path: Path) -> BundleReport:
        """Checks one bundle."""
        try:
            bundle = open_bundle(path)
        except BundleError as error:
            if not path.is_dir():
                raise
            return broken_bundle(str(path), error)
        extra = [self.comparison_images(bundle)] if self.request.data else []
        cache = self.caches.setdefault((bundle.manifest.provenance.checkpoint, bundle.side), {})
        found = verify_bundle(
            bundle,
            extra,
            cache,
            self.request.processors,
            self.report,
            self.builds,
            evaluate=self.request.evaluate,
        )
        if self.request.explain and not found.passed:
            explained = import_explanations()
            self.report.line(f"{path}: looking for the first difference")
            with self.report.doing(f"{path}: looking for the first difference"):
                return explained(found, bundle, lambda: reference_model(bundle, self.request))
        return found

    def comparison_images(self, bundle: Bundle) -> ComparisonImages:
        """Returns the images to compare on, with the limits of the request."""
        key = (bundle.manifest.provenance.checkpoint, bundle.side)
        if key not in self.images:
            self.images[key] = read_comparison_images(bundle, self.request, self.report)
        return self.images[key]


def import_explanations() -> Callable[..., BundleReport]:
    """Returns ``export.explaining.explained``, which needs torch.

    Raises:
        MissingPackageError: If torch is not installed.
    """
    try:
        with hidden_output():  # torchao warns while it is imported
            from export.explaining import explained
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "torch", "finding first differences", extra="export") from error
    return explained


def read_comparison_images(bundle: Bundle, request: VerificationRequest, report: Reporter) -> ComparisonImages:
    """Reads the request's images, with their classes, groups and limits, and computes PyTorch's answers.

    Any folder will do, since comparing needs no classes; all other layouts have them.
    """
    model = reference_model(bundle, request)
    from arbex.data.layouts import parse_source
    from arbex.data.loading import read_pixels

    source = parse_source(str(request.data))
    if source.layout == "folder":
        paths, labels = list_images(str(request.data), request.split, bundle.labels, request.limit)
        groups = read_groups(source.path, request.by, paths) if request.by else None
        pixels = decoded(ImageFiles(paths, bundle.side))
        return ComparisonImages(
            images=pixels,
            expected=stored_answers(model, pixels, report),
            labels=labels,
            groups=groups,
            names=[path.relative_to(source.path).as_posix() for path in paths],
            limits=request.limits,
        )
    if request.by:
        raise InputError(
            f"--by {request.by} needs the layout 'folder', not {source.layout!r}.",
            remedy="Leave --by out, or give the images as a folder with labels.csv.",
        )
    found, labels = read_pixels(str(request.data), request.split, bundle.labels, bundle.side, limit=request.limit)
    return ComparisonImages(
        images=found,
        expected=stored_answers(model, found, report),
        labels=labels,
        limits=request.limits,
    )


def decoded(files: ImageFiles) -> Pixels:
    """Returns images decoded if they fit into memory, so that not every artifact decodes them again."""
    from arbex.data.loading import MEMORY_LIMIT

    return files[:] if len(files) * files.side**2 * 3 <= MEMORY_LIMIT else files


def stored_answers(model: ExpressionClassifier, images: Pixels, report: Reporter) -> Prediction:
    """Returns PyTorch's answers, held by a temporary file, so that they need no memory however many they are."""
    from arbex.reference import answer

    shapes = ((len(model.labels),), (len(model.labels),), ())
    expected = Prediction(*(array_in_file((len(images), *shape)) for shape in shapes))
    with report.bar("PyTorch reference", len(images)) as step:
        for start in range(0, len(images), PART):
            part = slice(start, start + PART)
            for stored, found in zip(expected, answer(model, images[part]), strict=True):
                stored[part] = found
            step(min(start + PART, len(images)))
    return expected


def array_in_file(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns a new array in a temporary file, which lives as long as the array."""
    with TemporaryFile() as file:
        return np.memmap(file, np.float32, shape=shape)


def reference_model(bundle: Bundle, request: VerificationRequest) -> ExpressionClassifier:
    """Returns the PyTorch model that a bundle was exported from.

    Raises:
        MissingPackageError: If torch is not installed.
        RunError: If the run does not exist, or now holds other weights.
    """
    try:
        from arbex.checkpoint import load_run, open_run
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "torch", "comparing with PyTorch", extra="train") from error
    origin = bundle.manifest.provenance
    run = request.reference or Path(os.path.relpath(bundle.path / origin.run))
    if not request.reference and not run.is_dir():
        raise RunError(
            f"{bundle.path} was exported from {run}, which does not exist.",
            remedy="Give the run with --reference RUN, or leave --data out to check the golden vectors only.",
        )
    if open_run(run).digest != origin.checkpoint:
        raise RunError(
            f"{bundle.path} was not exported from the weights that {run} holds now.",
            remedy="Give the run it came from with --reference RUN, or export again.",
        )
    return load_run(run, backbone=request.backbone)
