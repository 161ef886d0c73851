"""The accuracy gate of INT8: what must hold, and the search for operators to restore until it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

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
from export.trace import TracedModel
from quantize.fallback import Outcome, Score, Search
from quantize.kernel_emulation import as_kernels_compute
from quantize.program import quantize
from quantize.sensitivity import analyze, measure_costs
from runtimes.base import BATCH, Prediction
from runtimes.bundle import Golden
from runtimes.comparison_images import ComparisonImages
from runtimes.manifest import Thresholds
from runtimes.parity import Parity, compare, violations

GATE_IMAGES = 256
"""Most calibration images that are held in memory to judge on."""

SENSITIVITY_IMAGES = 64
"""Their gradients tell operators apart; measuring them costs as much as 10 evaluations of a placement."""

MARGIN = 0.9
"""Share of the allowed divergence that a placement may use up in PyTorch; runtimes break ties their own way."""

SENSITIVITY_BATCH = 4
"""All activations of a batch, and their rounding errors, are held at once."""


@dataclass(frozen=True)
class Gate:
    """What INT8 must show on images.

    Attributes:
        sets: Images with PyTorch's answers; each set must hold on its own. The first tells operators apart, and
            figures are its own.
        thresholds: The limits.
    """

    sets: tuple[ComparisonImages, ...]
    thresholds: Thresholds


def gate_on(calibrating: CalibrationSet, model: ExpressionClassifier, golden: Golden, thresholds: Thresholds) -> Gate:
    """Returns what int8 must show on calibration images and on golden vectors."""
    images = calibrating.first(GATE_IMAGES)
    return Gate(
        sets=(
            ComparisonImages(images=images, expected=Prediction(*answer(model, images))),
            ComparisonImages(images=golden.images, expected=golden.expected),
        ),
        thresholds=thresholds,
    )


def split(images: NDArray[np.uint8], size: int) -> Iterable[NDArray[np.uint8]]:
    """Yields images in batches."""
    return (images[i : i + size] for i in range(0, len(images), size))


@torch.inference_mode()
def answers_of(program: GraphModule, traced: TracedModel, images: NDArray[np.uint8]) -> Prediction:
    """Returns what a program of the traced model answers for uint8 images ``[n, S, S, 3]``."""
    outputs = [program(batch) for batch in normalized(split(images, BATCH), traced.preprocessing)]
    return Prediction(*(torch.cat(part).numpy() for part in zip(*outputs, strict=True)))


def search_fallback(
    traced: TracedModel,
    ranges: Mapping[str, TensorRange],
    recipes: Iterable[Recipe],
    gate: Gate,
    report: Reporter,
) -> Outcome:
    """Looks for the fewest operators that must stay in float for every recipe to pass the gate.

    Args:
        traced: The program.
        ranges: Of its activations.
        recipes: Placements of the wanted targets; what one of them needs in float stays in float for all.
        gate: What must hold, and where.
        report: Takes progress.
    """
    chosen = list(dict.fromkeys(recipes))
    images = gate.sets[0].images[:SENSITIVITY_IMAGES]
    costs = {}
    with report.bar("measuring sensitivity", len(chosen)) as step:
        for i, recipe in enumerate(chosen):
            batches = normalized(split(images, SENSITIVITY_BATCH), traced.preprocessing)
            costs[recipe] = measure_costs(traced.program, ranges, recipe, batches)
            step(i + 1)

    def holds(parities: list[Parity]) -> bool:
        limit = gate.thresholds.mean_kl
        within = limit is None or parities[0].mean_kl <= MARGIN * limit  # here without allowance for chance
        return within and not any(violations(parity, gate.thresholds) for parity in parities)

    def measure(restored: tuple[str, ...]) -> Score:
        by_recipe = []
        for recipe in chosen:
            program = quantize(traced.program, ranges, replace(recipe, float_operators=restored))
            program = as_kernels_compute(program) if recipe.outputs else program
            by_recipe.append([compare(test.expected, answers_of(program, traced, test.images)) for test in gate.sets])
        return Score(
            max(parities[0].mean_kl for parities in by_recipe),
            min(parities[0].top1_agreement for parities in by_recipe),
            all(map(holds, by_recipe)),
        )

    return Search(analyze(traced.program, costs), measure, report).run()
