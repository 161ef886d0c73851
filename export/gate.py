"""The accuracy gate of INT8: what must hold, and the search for operators to restore until it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule

from arbex.progress import Reporter
from calibration import TensorRange
from export.calibrated import BATCH, normalised
from export.trace import TracedModel
from quantize.fallback import Outcome, Score, Search
from quantize.program import quantize
from quantize.recipe import Recipe
from quantize.sensitivity import analyse, measure_effects
from runtimes.base import Prediction
from runtimes.manifest import Thresholds
from runtimes.parity import compare, violations

SENSITIVITY_IMAGES = 64
"""Their gradients tell operators apart; measuring them costs as much as 10 evaluations of a placement."""

SENSITIVITY_BATCH = 4
"""All activations of a batch, and their rounding errors, are held at once."""


@dataclass(frozen=True)
class Gate:
    """What INT8 must show on images.

    Attributes:
        images: uint8 ``[n, S, S, 3]``.
        expected: PyTorch's answers.
        thresholds: The limits.
    """

    images: NDArray[np.uint8]
    expected: Prediction
    thresholds: Thresholds


def split(images: NDArray[np.uint8], size: int) -> Iterable[NDArray[np.uint8]]:
    """Yields images in batches."""
    return (images[i : i + size] for i in range(0, len(images), size))


@torch.inference_mode()
def answers_of(program: GraphModule, traced: TracedModel, images: NDArray[np.uint8]) -> Prediction:
    """Returns what a program of the traced model answers for uint8 images ``[n, S, S, 3]``."""
    outputs = [program(batch) for batch in normalised(split(images, BATCH), traced.preprocessing)]
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
    images = gate.images[:SENSITIVITY_IMAGES]
    effects = {}
    with report.bar("measuring sensitivity", len(chosen)) as step:
        for i, recipe in enumerate(chosen):
            batches = normalised(split(images, SENSITIVITY_BATCH), traced.preprocessing)
            effects[recipe] = measure_effects(traced.program, ranges, recipe, batches)
            step(i + 1)

    def measure(restored: tuple[str, ...]) -> Score:
        parities = []
        for recipe in chosen:
            program = quantize(traced.program, ranges, replace(recipe, float_operators=restored))
            parities.append(compare(gate.expected, answers_of(program, traced, gate.images)))
        return Score(
            max(parity.mean_kl for parity in parities),
            min(parity.top1_agreement for parity in parities),
            not any(violations(parity, gate.thresholds) for parity in parities),
        )

    return Search(analyse(traced.program, effects), measure, report).run()
