"""What is quantized how, as frozen data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from quantize.operators import ADD, ATTENTION, RELU, WEIGHTED


@dataclass(frozen=True)
class Recipe:
    """An INT8 recipe.

    Attributes:
        name: Identifies it; ``w8a8`` is 8-bit weights and activations.
        operators: Operators whose inputs and weights are quantized, by ATen name.
        outputs: Those among them whose outputs are quantized too.
        min_channels: Convolutions of fewer input channels compute in float; their outputs are quantized all the same.
        fused: Activations that belong to the operator before them: the tensor behind them is quantized.
        additions: Operators that are quantized where all of their inputs already are.
        movements: Operators that pass quantized values on as they are.
        biases: Attentions whose constant position biases are stored in 8 bits.
        float_operators: Operators that stay in float32, by their name in the traced program: what a gate restored.
        float_modules: Modules that stay in float32, by their first path component: the head's logarithms and
            distances are under 0.1 % of the work and would cost all of the agreement.
        activation: Scheme of activations, by its name in torch: ``per_tensor_symmetric`` has zero point 0 and leaves
            an activation behind a ReLU 7 bits; ``per_tensor_affine`` gives it all 8.
        weight: Scheme of weights, by its name in torch: symmetric, one scale an output channel.
    """

    name: str
    operators: tuple[str, ...] = WEIGHTED
    outputs: tuple[str, ...] = ()
    min_channels: int = 0
    fused: tuple[str, ...] = RELU
    additions: tuple[str, ...] = ()
    movements: tuple[str, ...] = ()
    biases: tuple[str, ...] = (ATTENTION,)
    float_operators: tuple[str, ...] = ()
    float_modules: tuple[str, ...] = ("head",)
    activation: str = "per_tensor_symmetric"
    weight: str = "per_channel_symmetric"

    @property
    def has_zero_points(self) -> bool:
        """Whether zero points of activations may differ from 0."""
        return self.activation.endswith("affine")

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as a dictionary."""
        return asdict(self)


CPU = Recipe(
    "int8-w8a8-cpu",
    # XNNPACK and MLAS have an integer kernel where inputs, weights and output are quantized; with a float output they
    # compute in float. Chains of convolutions stay in int8 through their residual additions. Those of a transformer
    # stay in float, since no quantized tensor leads into them.
    outputs=WEIGHTED,
    # A stem has 27 products an output: too few for an integer kernel to pay, and its input is where rounding hurts.
    min_channels=4,
    additions=ADD,
    movements=("aten.slice.Tensor", "aten.max_pool2d.default"),
    activation="per_tensor_affine",
)
"""For ONNX Runtime and LiteRT."""

ACCELERATOR = Recipe(
    "int8-w8a8-accelerator",
    # The picture itself in 7 bits and a sign would be half of all the error.
    min_channels=4,
)
"""For TensorRT, which fuses across a float output itself and wants zero point 0, and Core ML."""

WIDEST = CPU
"""Quantizes every tensor that any other recipe does: what calibration observes."""

FLOAT = Recipe("float32", operators=(), biases=())
"""Quantizes nothing: a program is only folded."""
