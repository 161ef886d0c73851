"""Checking bundles against the runs that they were exported from. Only comparing on images needs torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arbex.errors import BundleError, InputError, MissingPackageError, RunError
from arbex.progress import SILENT, Reporter
from runtimes.base import Prediction
from runtimes.bundle import Bundle, open_bundle
from runtimes.comparison_images import ComparisonImages, list_images
from runtimes.emulation.processors import Processor
from runtimes.preprocessing import load
from runtimes.registry import default_environment
from runtimes.verification import BundleReport, ReportCache, Verification, broken_bundle, verify_bundle

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
        max_kl: Largest mean KL on these images, in nats; None stands for the bundle's limit.
        min_agreement: Smallest top-1 agreement on these images, in [0, 1]; None stands for the bundle's limit.
        reference: Run to compare with; None stands for the one that was exported.
        backbone: Custom backbone of the run, as for ``load_run``.
        processors: Processors to emulate in addition to that of this machine.
    """

    bundles: Sequence[Path]
    data: str | None = None
    split: str = "test"
    limit: int | None = None
    max_kl: float | None = None
    min_agreement: float | None = None
    reference: Path | None = None
    backbone: Backbone | str | None = None
    processors: Sequence[Processor] = ()


def verify(request: VerificationRequest, *, report: Reporter = SILENT) -> Verification:
    """Checks bundles: every byte, the golden vectors, and the distributions on images.

    Returns:
        A report per bundle; that of a damaged one says why it could not be opened.

    Raises:
        BundleError: If a bundle does not exist.
        InputError: If limits of images are given without images.
        BackendError: If an emulator is not set up.
        RunError, DataError: If the reference or the images cannot be used.
        MissingPackageError: If the request has images and torch is not installed.
    """
    refuse_limits_without_images(request)
    for processor in request.processors:
        default_environment().check(processor)
    verifier = Verifier(request, report)
    return Verification(tuple(verifier.check(path) for path in request.bundles))


def refuse_limits_without_images(request: VerificationRequest) -> None:
    """Refuses what only applies to images where none are given; the golden vectors have the bundle's own limits.

    Raises:
        InputError: If there is such a value.
    """
    limits = {"--limit": request.limit, "--max-kl": request.max_kl, "--min-agreement": request.min_agreement}
    given = [f"{name} {value}" for name, value in limits.items() if value is not None]
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
    """

    request: VerificationRequest
    report: Reporter
    images: dict[tuple[str, int], ComparisonImages] = field(default_factory=dict)
    caches: dict[tuple[str, int], ReportCache] = field(default_factory=dict)

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
        return verify_bundle(bundle, extra, cache, self.request.processors, self.report)

    def comparison_images(self, bundle: Bundle) -> ComparisonImages:
        """Returns the images to compare on, with the limits of the request."""
        key = (bundle.manifest.provenance.checkpoint, bundle.side)
        if key not in self.images:
            self.images[key] = read_comparison_images(bundle, self.request, self.report)
        return self.images[key]


def read_comparison_images(bundle: Bundle, request: VerificationRequest, report: Reporter) -> ComparisonImages:
    """Reads images and computes PyTorch's answers.

    Any folder will do, since comparing needs no classes; all other layouts have them.
    """
    model = reference_model(bundle, request)
    from arbex.data.layouts import parse_source
    from arbex.data.loading import read_pixels
    from arbex.reference import answer

    data, labels = str(request.data), bundle.labels
    if parse_source(data)[0] == "folder":
        files, classes = list_images(data, request.split, labels, request.limit)
        pixels = np.stack([load(file, bundle.side) for file in files])
    else:
        pixels, classes = read_pixels(data, request.split, labels, bundle.side, limit=request.limit)
    return ComparisonImages(
        images=pixels,
        expected=Prediction(*answer(model, pixels, report=report)),
        labels=classes,
        max_kl=request.max_kl,
        min_agreement=request.min_agreement,
    )


def reference_model(bundle: Bundle, request: VerificationRequest) -> ExpressionClassifier:
    """Returns the PyTorch model that a bundle was exported from.

    Raises:
        MissingPackageError: If torch is not installed.
        RunError: If the run does not exist, or now holds other weights.
    """
    try:
        from arbex.checkpoint import load_run, open_run
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "torch", "comparing with PyTorch on --data", extra="train") from error
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
