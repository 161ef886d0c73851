"""How a bundle was made, as frozen values that all stages share. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An INT8 recipe: which operators are quantized, and how.

    Attributes:
        name: Name of the recipe; ``w8a8`` stands for 8-bit weights and activations.
        operators: Operators whose inputs and weights are quantized, by ATen name.
        outputs: Operators among these whose outputs are quantized too.
        min_channels: Fewest input channels of a convolution in int8. One with fewer computes in float, but its output
            is still quantized.
        fused: Activation functions that are fused with the operator before them: the tensor after them is quantized.
        additions: Operators that are quantized if all of their inputs are.
        movements: Operators that pass quantized values on unchanged.
        biases: Attention operators whose constant position biases are stored in 8 bits.
        float_operators: Operators that stay in float32, by name in the traced program: those that a gate restored.
        activation: Scheme of activations, by its name in torch. ``per_tensor_symmetric`` has zero point 0 and leaves
            7 bits to an activation after a ReLU; ``per_tensor_affine`` gives it all 8.
        weight: Scheme of weights, by its name in torch: symmetric, one scale per output channel.
        half: Whether scales, and parameters before the head, are numbers of float16, as which some formats store them.
            Rounded by a format alone, they would move values over the borders between integers, and answers by as much
            as INT8 itself does.
    """

    name: str
    operators: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    min_channels: int = 0
    fused: tuple[str, ...] = ()
    additions: tuple[str, ...] = ()
    movements: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()
    float_operators: tuple[str, ...] = ()
    activation: str = "per_tensor_symmetric"
    weight: str = "per_channel_symmetric"
    half: bool = False

    @property
    def has_zero_points(self) -> bool:
        """Whether zero points of activations may differ from 0."""
        return self.activation.endswith("affine")


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """The calibration that the ranges of INT8 came from.

    Attributes:
        digest: Digest of the calibration table.
        images: Number of images.
        calibrator: Name of the observer, or ``auto``.
        samples: Digests of the sets of images.
    """

    digest: str
    images: int
    calibrator: str
    samples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OperatorCost:
    """A row of the sensitivity table.

    Attributes:
        operator: Name in the traced program.
        module: Dotted path of the module it came from.
        macs: Multiply-adds per image.
        kl: Predicted mean KL in nats with this operator alone in int8; the largest over the recipes.
    """

    operator: str
    module: str
    macs: int
    kl: float


@dataclass(frozen=True, kw_only=True)
class PredictedPoint:
    """A predicted point of the trade-off.

    Attributes:
        int8_share: Share of all multiply-adds in int8.
        kl: Mean KL in nats.
    """

    int8_share: float
    kl: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A measured point of the trade-off.

    Attributes:
        restored: Number of operators restored to float.
        int8_share: Share of all multiply-adds in int8.
        predicted_kl: Mean KL in nats that the sensitivity table predicted.
        mean_kl: Measured mean KL in nats.
        agreement: Measured top-1 agreement, in [0, 1].
    """

    restored: int
    int8_share: float
    predicted_kl: float
    mean_kl: float
    agreement: float


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """What the accuracy gate of an export measured and chose.

    Attributes:
        restored: Names of the operators that stay in float.
        trials: Measured points, in the order of the number of restored operators.
        predicted: Predicted points with 0, 1, 2, … operators restored.
        operators: The sensitivity table, the most sensitive operator first.
    """

    restored: tuple[str, ...]
    trials: tuple[Trial, ...]
    predicted: tuple[PredictedPoint, ...]
    operators: tuple[OperatorCost, ...]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the artifacts of a bundle came from.

    Attributes:
        checkpoint: SHA-256 of the weights.
        preset: Name of the preset of the encoder.
        method: Name of the method.
        epoch: Epoch of the weights; 0 if they are untrained.
        data: Name of the training data, or an empty string.
        preprocessing: Digest of the preprocessing.
        tools: Versions of this toolkit and of the packages that shape an artifact.
        run: Path of the run, relative to the bundle.
        calibration: Calibration of INT8; None without INT8.
        recipe: Recipe of INT8; None without INT8.
        sensitivity: What the accuracy gate measured; None without a gate.
    """

    checkpoint: str
    preset: str
    method: str
    epoch: int
    data: str
    preprocessing: str
    tools: Mapping[str, str]
    run: str
    calibration: CalibrationRecord | None = None
    recipe: Recipe | None = None
    sensitivity: Tradeoff | None = None


@dataclass(frozen=True, kw_only=True)
class Island:
    """Multiply-adds of an INT8 file that stay in float.

    Attributes:
        reason: Why they stay in float.
        operators: Number of convolutions, linear layers and products.
        macs: Their multiply-adds per image.
        modules: Dotted paths of the modules they come from.
    """

    reason: str
    operators: int
    macs: int
    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """Operators without weights that an INT8 file computes in float.

    Attributes:
        operator: Name of the operator in ATen.
        operators: How often it occurs.
        values: Number of values that these operators output per image.
        reason: Why they compute in float.
    """

    operator: str
    operators: int
    values: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much of its work an INT8 file does in integers.

    Attributes:
        macs: Multiply-adds per image.
        int8_macs: Multiply-adds per image in integer kernels.
        islands: Multiply-adds in float, the largest island first.
        elementwise: Operators in float between the layers, most values first.
    """

    macs: int
    int8_macs: int
    islands: tuple[Island, ...]
    elementwise: tuple[Elementwise, ...] = field(default=())

    @property
    def int8_share(self) -> float:
        """Share of the multiply-adds in integer kernels, in [0, 1]."""
        return self.int8_macs / self.macs
