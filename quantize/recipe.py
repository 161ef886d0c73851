"""What is quantised how, as frozen data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """An INT8 recipe that every backend shares.

    Attributes:
        name: Identifies it; ``w8a8`` is 8-bit weights and activations.
        operators: Operators whose inputs and weights are quantised, by ATen name.
        float_modules: Modules that stay in float32, by their first path component: the head's logarithms and
            distances are under 0.1 % of the work and would cost all of the agreement.
        activation: Scheme of activations, by its name in torch: symmetric with zero point 0, as TensorRT demands.
        weight: Scheme of weights, by its name in torch: symmetric, one scale an output channel.
    """

    name: str = "int8-w8a8"
    operators: tuple[str, ...] = ("aten.conv2d.default", "aten.linear.default")
    float_modules: tuple[str, ...] = ("head",)
    activation: str = "per_tensor_symmetric"
    weight: str = "per_channel_symmetric"

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as a dictionary."""
        return asdict(self)


INT8 = Recipe()
