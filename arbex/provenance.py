"""What a bundle remembers of how it was made, as frozen values that every stage shares. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An INT8 recipe: which operators are quantized, and how.

    Attributes:
        name: Identifies it; ``w8a8`` is 8-bit weights and activations.
        operators: Operators whose inputs and weights are quantized, by ATen name.
        outputs: Those among them whose outputs are quantized too.
        min_channels: Convolutions of fewer input channels compute in float; their outputs are quantized all the same.
        fused: Activations that belong to the operator before them: the tensor after them is quantized.
        additions: Operators that are quantized where all of their inputs already are.
        movements: Operators that pass quantized values on unchanged.
        biases: Attentions whose constant position biases are stored in 8 bits.
        float_operators: Operators that stay in float32, by their name in the traced program: what a gate restored.
        activation: Scheme of activations, by its name in torch: ``per_tensor_symmetric`` has zero point 0 and leaves
            an activation after a ReLU 7 bits; ``per_tensor_affine`` gives it all 8.
        weight: Scheme of weights, by its name in torch: symmetric, one scale per output channel.
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

    @property
    def has_zero_points(self) -> bool:
        """Whether zero points of activations may differ from 0."""
        return self.activation.endswith("affine")


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """Which calibration the ranges of INT8 came from.

    Attributes:
        digest: Of the calibration table.
        images: How many images were seen.
        calibrator: Name of the observer.
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
        kl: Predicted mean KL in nats where this operator alone is in int8; the larger one of several recipes.
    """

    operator: str
    module: str
    macs: int
    kl: float


@dataclass(frozen=True, kw_only=True)
class PredictedPoint:
    """A predicted point of the trade-off.

    Attributes:
        int8_share: Share of all multiply-adds that is left in int8.
        kl: Mean KL in nats.
    """

    int8_share: float
    kl: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A measured point of the trade-off.

    Attributes:
        restored: How many operators were in float, the most sensitive first.
        int8_share: Share of all multiply-adds that was left in int8.
        predicted_kl: Mean KL in nats that the sensitivity table predicted.
        mean_kl: Mean KL in nats that was measured.
        agreement: Top-1 agreement that was measured, in [0, 1].
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
        trials: What was measured, by number of restored operators.
        predicted: Points with none, one, two, … operators restored.
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
        checkpoint: sha-256 of the weights.
        preset: Name of the preset of the encoder.
        method: Name of the method.
        epoch: Epoch of the weights, 0 for untrained ones.
        data: Name of the training data, or an empty string.
        preprocessing: Digest of the preprocessing.
        tools: Versions of this toolkit and of the packages that shape an artifact.
        run: Path of the run, relative to the bundle.
        calibration: Where INT8 came from; None without INT8.
        recipe: How INT8 is placed; None without INT8.
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
        reason: Why.
        operators: How many convolutions, linear layers and products.
        macs: Their multiply-adds per image.
        modules: Where they come from.
    """

    reason: str
    operators: int
    macs: int
    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """Operators without weights that an INT8 file computes in float.

    Attributes:
        operator: What they compute, by its name in ATen.
        operators: How many they are.
        values: How many values they put out per image.
        reason: Why in float.
    """

    operator: str
    operators: int
    values: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an INT8 file computes in integers, and what not.

    Attributes:
        macs: Multiply-adds per image.
        int8_macs: Those in integer kernels.
        islands: The others, most multiply-adds first.
        elementwise: What computes in float between the layers, most values first.
    """

    macs: int
    int8_macs: int
    islands: tuple[Island, ...]
    elementwise: tuple[Elementwise, ...] = field(default=())

    @property
    def int8_share(self) -> float:
        """Share of the multiply-adds in integer kernels, in [0, 1]."""
        return self.int8_macs / self.macs
