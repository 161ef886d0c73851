"""Explaining why artifacts of a bundle fail: each is compared with its program, operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from arbex.errors import ArbexError, BackendError, UnsupportedError
from arbex.spec import OUTPUT_NAMES
from export.channel_equalization import equalize_channels
from export.explanation import first_difference
from export.programs import Programs
from export.ranges_file import read_ranges
from export.registry import choose_targets
from export.trace import InputStage, trace
from runtimes.base import Prediction, Runtime
from runtimes.bundle import Bundle
from runtimes.difference import Difference
from runtimes.emulation.processors import NATIVE
from runtimes.golden import Golden
from runtimes.manifest import Artifact
from runtimes.outcomes import FAILED, ArtifactReport, BundleReport
from runtimes.quiet_runs import run_quietly
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    from arbex.models import ExpressionClassifier

ONE_BY_ONE = "one by one, its operators compute what the program computes"
THE_PRECISION = (
    f"{ONE_BY_ONE}, and so do they together. If its answers are not those at export, its version is to blame. If only "
    "limits on images are exceeded, this is what the precision costs: calibrate on other images, or export with "
    "--max-kl, which keeps in float what costs the most."
)
THE_KERNELS = (
    f"{ONE_BY_ONE}, but most answers differ by {{apart:.1e}} or more where this runtime computes several at once: a "
    "kernel of the runtime is wrong on this processor. Try another version of it, and report it to its authors."
)
APART, COMPARED = 1e-4, 4
"""Difference of most answers from which on it is no matter of the order of additions, over every fourth image."""


def explained(report: BundleReport, bundle: Bundle, load_reference: Callable[[], ExpressionClassifier]) -> BundleReport:
    """Returns the report of a bundle with the first operator at which each failed artifact parts from its program.

    Where that cannot be found, the reason is among those of the artifact.

    Args:
        report: The report.
        bundle: The bundle.
        load_reference: Loads the model that it was exported from.
    """
    if not any(map(can_be_explained, report.artifacts)):
        return report
    try:
        programs = programs_of(bundle, load_reference())
    except ArbexError as error:
        found = tuple(row.with_reason(str(error)) if can_be_explained(row) else row for row in report.artifacts)
        return replace(report, artifacts=found)
    rows = (
        explain_row(row, bundle, bundle.find(row.artifact), programs) if can_be_explained(row) else row
        for row in report.artifacts
    )
    return replace(report, artifacts=tuple(rows))


def can_be_explained(row: ArtifactReport) -> bool:
    """Tells whether an artifact ran on this machine's own processor and failed."""
    return row.outcome == FAILED and row.executed and row.cpu == NATIVE


def explain_row(row: ArtifactReport, bundle: Bundle, artifact: Artifact, programs: Programs) -> ArtifactReport:
    """Returns the report of one artifact with its first difference, or with the reason why there is none."""
    try:
        found = explain(bundle, artifact, programs)
    except (UnsupportedError, BackendError) as error:
        return row.with_reason(str(error))
    return row.with_reason(found) if isinstance(found, str) else replace(row, first_difference=found)


def programs_of(bundle: Bundle, model: ExpressionClassifier) -> Programs:
    """Returns the programs from which a bundle's artifacts were written.

    Raises:
        BundleError: If the bundle lacks what its INT8 program is made from.
    """
    recipe = bundle.manifest.provenance.recipe
    ranges = read_ranges(bundle.path) if recipe else {}
    return Programs(equalize_channels(trace(model)), ranges, recipe.float_operators if recipe else ())


def explain(bundle: Bundle, artifact: Artifact, programs: Programs) -> Difference | str:
    """Returns where an artifact parts from its program on the golden image on which their answers differ most.

    Returns:
        The operator, or, if all of them compute what they should, what else it may be, as sentences.

    Raises:
        UnsupportedError: If the artifact's runtime keeps the values inside to itself.
        BackendError: If a package is missing, or the runtime fails.
    """
    (target,) = choose_targets([bundle.manifest.target])
    variant = programs.variant(target, artifact.precision)
    golden = bundle.golden()
    with hidden_output():
        opened = bundle.open_artifact(artifact)
    with opened as runtime:
        answers = run_quietly(runtime, golden.images)
        worst = farthest(reference_for(artifact, golden), answers)
        image = golden.images[worst : worst + 1]
        stage = InputStage(variant.program(), programs.traced.preprocessing, half=variant.recipe.half)
        pixels = stage.normalize(torch.as_tensor(image))
        with hidden_output(), runtime.unrounded() as exact:
            found = first_difference(variant.program(), pixels, exact.values(image), fused=exact.fuses)
            return found or other_reason(exact, golden.images[::COMPARED])


def other_reason(runtime: Runtime, images: NDArray[np.uint8]) -> str:
    """Returns what may be wrong where all operators are right, as sentences."""
    apart = 0.0 if runtime.fuses else between_kernels(runtime, images)
    return THE_KERNELS.format(apart=apart) if apart > APART else THE_PRECISION


def between_kernels(runtime: Runtime, images: NDArray[np.uint8]) -> float:
    """Returns how much answers change if a runtime computes operators one by one: the median over images.

    Values on the border between two integers may fall on either side, so that single answers change in any case.
    """
    found = []
    for image in np.split(images, len(images)):
        together, alone = runtime.run(image), runtime.values(image)
        pairs = zip(together, (alone[name] for name in OUTPUT_NAMES), strict=True)
        found.append(max(float(np.abs(a.reshape(-1) - b.reshape(-1)).max()) for a, b in pairs))
    return float(np.median(found))


def reference_for(artifact: Artifact, golden: Golden) -> Prediction:
    """Returns the answers that an artifact should give to the golden images: its own at export, if there are any."""
    return golden.recorded.get(artifact.name) or golden.programs.get(artifact.precision) or golden.expected


def farthest(expected: Prediction, found: Prediction) -> int:
    """Returns the number of the image whose answers differ most, by the largest difference in any output."""
    apart = [np.abs(a - b).reshape(len(a), -1).max(1) for a, b in zip(expected, found, strict=True)]
    return int(np.argmax(np.max(apart, axis=0)))
