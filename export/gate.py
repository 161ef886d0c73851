"""The accuracy gate of INT8: its limits, and the search for the operators to restore until they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule

from arbex.models import ExpressionClassifier
from arbex.progress import Reporter
from arbex.provenance import Recipe
from arbex.reference import answer
from calibration import TensorRange
from calibration.samples import CalibrationSet
from export.int8_calibration import normalized
from export.trace import InputStage, TracedModel
from quantize.fallback import Outcome, Score, Search
from quantize.kernel_emulation import as_kernels_compute
from quantize.program import quantize
from quantize.sensitivity import analyze, measure_costs
from runtimes.base import BATCH, Prediction
from runtimes.comparison import compare
from runtimes.comparison_images import ComparisonImages
from runtimes.decision import decide
from runtimes.limits import Limits
from runtimes.manifest import Thresholds
from runtimes.parity import Parity

GATE_IMAGES = 256
"""Largest number of calibration images to judge on, which are held in memory."""

SENSITIVITY_IMAGES = 64
"""Number of images whose gradients rank the operators; this costs as much as 10 evaluations of a placement."""

NOT_GATED: Final[Limits] = {"confidence_rank_correlation": None, "confidence_flips": None}
"""Limits that the gate leaves to verification: a user asks it for a divergence and an agreement."""

MARGIN = 0.9
"""Share of the allowed divergence that a placement may use in PyTorch; runtimes break ties in their own ways."""

SENSITIVITY_BATCH = 4
"""Images per batch; all activations of a batch, and their rounding errors, are held in memory."""


@dataclass(frozen=True)
class Gate:
    """Limits of INT8, and the images on which they must hold.

    Attributes:
        images: Images in memory with PyTorch's answers, which also rank the operators.
        thresholds: The limits.
    """

    images: ComparisonImages
    thresholds: Thresholds


def gate_on(calibrating: CalibrationSet, model: ExpressionClassifier, thresholds: Thresholds) -> Gate:
    """Returns the gate of int8 on calibration images. Golden vectors are close calls, and no sample of anything."""
    images = calibrating.first(GATE_IMAGES)
    expected = Prediction(*answer(model, images))
    found = ComparisonImages(images=images, expected=expected, limits=NOT_GATED, undecided_passes=True)
    return Gate(found, thresholds.overridden(NOT_GATED))


def split(images: NDArray[np.uint8], size: int) -> Iterable[NDArray[np.uint8]]:
    """Yields images in batches."""
    return (images[i : i + size] for i in range(0, len(images), size))


@torch.inference_mode()
def answers_of(
    program: GraphModule, traced: TracedModel, images: NDArray[np.uint8], *, half: bool = False
) -> Prediction:
    """Returns the answers of a program of the traced model for uint8 images ``[n, S, S, 3]``.

    Args:
        program: The program.
        traced: The traced model.
        images: The images.
        half: Whether they are normalized by numbers of float16, as the program's recipe says.
    """
    deployed = InputStage(program, traced.preprocessing, half=half)
    outputs = [deployed(torch.as_tensor(batch)) for batch in split(images, BATCH)]
    return Prediction(*(torch.cat(part).numpy() for part in zip(*outputs, strict=True)))


def search_fallback(
    traced: TracedModel,
    ranges: Mapping[str, TensorRange],
    recipes: Iterable[Recipe],
    gate: Gate,
    report: Reporter,
) -> Outcome:
    """Searches for the fewest operators that must stay in float for every recipe to pass the gate.

    Args:
        traced: The traced model.
        ranges: Ranges of its activations.
        recipes: Recipes of the wanted targets; an operator that one of them needs in float stays in float for all.
        gate: Limits and images.
        report: Receives progress.
    """
    chosen = list(dict.fromkeys(recipes))
    images = gate.images.images[:SENSITIVITY_IMAGES]
    costs, pixels = {}, gate.images.images[:]
    with report.bar("measuring sensitivity", len(chosen)) as step:
        for i, recipe in enumerate(chosen):
            batches = normalized(split(images, SENSITIVITY_BATCH), traced.preprocessing)
            costs[recipe] = measure_costs(traced.program, ranges, recipe, batches)
            step(i + 1)

    def holds(parity: Parity) -> bool:
        limit = gate.thresholds.mean_kl
        within = limit is None or parity.mean_kl <= MARGIN * limit  # no allowance for chance here
        return within and not decide(parity, gate.thresholds).violated

    def measure(restored: tuple[str, ...]) -> Score:
        by_recipe = []
        for recipe in chosen:
            program = quantize(traced.program, ranges, replace(recipe, float_operators=restored))
            program = as_kernels_compute(program) if recipe.outputs else program
            found = answers_of(program, traced, pixels, half=recipe.half)
            by_recipe.append(compare(gate.images.expected, found))
        return Score(
            max(parity.mean_kl for parity in by_recipe),
            min(parity.top1_agreement for parity in by_recipe),
            all(map(holds, by_recipe)),
        )

    return Search(analyze(traced.program, costs), measure, report).run()
