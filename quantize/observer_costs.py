"""What ranges cost, tensor by tensor, so that calibration can choose among those of several observers.

Observers look at values alone. Whether cutting a rare large value harms, the answers alone can tell: it costs nothing
where the value says nothing, and everything where it is what the answer rests on. The cost is that of
``quantize.sensitivity``: the divergence of the answers, to second order, from one pass with gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Node

from calibration import TensorRange
from quantize.placement import SMALLEST_SCALE
from quantize.program import prepare
from quantize.recipe import ACCELERATOR, CPU, WIDEST
from quantize.sensitivity import Meter, divergence

SCHEMES = (CPU.activation, ACCELERATOR.activation)
"""Schemes of torch in which activations are rounded; one calibration serves them all, so that their costs add up."""

Candidates = Mapping[str, Mapping[str, TensorRange]]
"""Ranges by observer and tensor."""


def round_to(value: Tensor, found: TensorRange, scheme: str) -> Tensor:
    """Returns an activation rounded to the 256 values of a range, which is widened to hold zero.

    Args:
        value: The activation.
        found: The range.
        scheme: ``per_tensor_affine`` or ``per_tensor_symmetric``.
    """
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    if scheme == "per_tensor_symmetric":
        scale = max(-low, high) / 127
        return torch.fake_quantize_per_tensor_affine(value, max(scale, SMALLEST_SCALE), 0, -128, 127)
    scale = max((high - low) / 255, SMALLEST_SCALE)
    return torch.fake_quantize_per_tensor_affine(value, scale, -128 - round(low / scale), -128, 127)


class CandidateMeter(Meter):
    """Runs a prepared program in float and records what rounding to each candidate range would do."""

    def __init__(self, prepared: GraphModule, candidates: Candidates) -> None:
        """Starts with no image seen."""
        super().__init__(prepared)
        self.candidates = candidates

    def record_weight(self, node: Node, value: Tensor) -> Tensor:
        """Passes the value on: weights have the same scales with every observer."""
        return value

    def rounding(self, name: str, value: Tensor, observer: Any) -> Tensor:
        """Returns the rounding errors of an activation, ``[schemes, observers, *value.shape]``."""
        found = [
            torch.stack([round_to(value, ranges[name], scheme) for ranges in self.candidates.values()])
            for scheme in SCHEMES
        ]
        return torch.stack(found) - value


def measure_observers(
    program: GraphModule, candidates: Candidates, batches: Iterable[Tensor]
) -> dict[str, dict[str, float]]:
    """Returns the KL in nats that rounding each tensor costs, summed over images and schemes, by tensor and observer.

    This takes one forward pass, and one backward pass per class.

    Args:
        program: Program from normalized float32 images ``[B, 3, S, S]`` to the outputs; not changed.
        candidates: Ranges by observer and tensor.
        batches: Images of that form.
    """
    meter = CandidateMeter(prepare(program, WIDEST), candidates)
    shown = [meter.measure(batch) for batch in batches]
    probabilities = np.concatenate([p for p, _ in shown])
    costs = {}
    for name in shown[0][1]:
        changes = np.concatenate([effects[name] for _, effects in shown], axis=-2)  # [schemes, observers, images, N]
        kl: NDArray[np.float64] = divergence(probabilities, changes).sum(0) * len(probabilities)
        costs[name] = dict(zip(candidates, kl.tolist(), strict=True))
    return costs
