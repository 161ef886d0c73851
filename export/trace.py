"""Tracing a model, once: everything that is exported comes from the traced program."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from arbex.errors import BackendError, reason
from arbex.models import ExpressionClassifier
from arbex.spec import OUTPUT_NAMES, Preprocessing
from export.layer_forms import unify_layers
from quantize.operators import HEAD

MAX_BATCH = 64
"""Largest batch that a traced program takes."""


class Core(nn.Module):
    """The part of a model that is traced: from normalized images to the three outputs."""

    def __init__(self, model: ExpressionClassifier) -> None:
        """Registers the model's parts under the names that placement rules refer to."""
        super().__init__()
        self.encoder = model.encoder
        setattr(self, HEAD, model.head)
        self.model = [model]  # a list, so that its parts are registered once

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps float32 ``[B, 3, S, S]`` to corrected ``[B, N]``, primary ``[B, N]``, confidence ``[B]``."""
        output = self.model[0](images)
        return output.corrected, output.primary, output.confidence


@dataclass(frozen=True)
class TracedModel:
    """A traced program with its labels and preprocessing.

    Attributes:
        program: Program from normalized float32 images ``[B, 3, S, S]`` to the three outputs, for any B.
        labels: Class names.
        preprocessing: How images become the input.
        equalized: Exponents of 2 by which channels after activations were divided, by the activation's name.
    """

    program: GraphModule
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    equalized: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return self.preprocessing.image_size


def trace(model: ExpressionClassifier) -> TracedModel:
    """Traces a model in eval mode with a free batch dimension.

    Args:
        model: The model, with its preprocessing.

    Raises:
        BackendError: If torch cannot trace it; the cause is chained.
    """
    side = model.preprocessing.image_size
    example = torch.zeros(2, 3, side, side)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    core = Core(model).eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch itself uses what it has deprecated
            exported = torch.export.export(core, (example,), dynamic_shapes={"images": {0: batch}})
            program = unify_layers(exported.module())
    except Exception as error:
        raise BackendError(
            f"torch.export cannot trace the model: {reason(error)}.",
            remedy="Change the backbone: it must not branch on values or call .item() on shapes.",
        ) from error
    return TracedModel(program, model.labels, model.preprocessing)


class InputStage(nn.Module):
    """``(x / 255 - mean) / std`` inside the graph, before a traced program.

    Args:
        program: Program from normalized images ``[B, 3, S, S]`` to the three outputs.
        preprocessing: Mean and standard deviation.
        nhwc: Whether to take uint8 ``[B, S, S, 3]``, or float32 ``[B, 3, S, S]`` in 0..255, to which Core ML converts
            an image.
        half: Whether scale and offset are numbers of float16.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self, program: nn.Module, preprocessing: Preprocessing, *, nhwc: bool = True, half: bool = False
    ) -> None:
        """Folds the division by 255 into one scale and one offset per channel."""
        super().__init__()
        self.program, self.nhwc = program, nhwc
        mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
        std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
        precision = torch.float16 if half else torch.float32
        self.register_buffer("scale", (1 / (255 * std)).to(precision).float())
        self.register_buffer("offset", (-mean / std).to(precision).float())
        self.training = False  # exported programs refuse .eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns corrected ``[B, N]``, primary ``[B, N]``, confidence ``[B]``."""
        corrected, primary, confidence = self.program(self.normalize(image))
        return corrected, primary, confidence

    def normalize(self, image: Tensor) -> Tensor:
        """Returns what the program takes, float32 ``[B, 3, S, S]``."""
        # Cast before the transposition: TensorRT does not transpose uint8.
        x = image.float().permute(0, 3, 1, 2) if self.nhwc else image
        return x * self.scale + self.offset


class NamedOutputs(nn.Module):
    """Returns the outputs of a deployed program by name, for converters that name a signature's outputs after them."""

    def __init__(self, deployed: nn.Module) -> None:
        """Wraps a deployed program."""
        super().__init__()
        self.deployed = deployed
        self.training = False  # exported programs refuse .eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps uint8 ``[1, S, S, 3]`` to the named outputs."""
        return dict(zip(OUTPUT_NAMES, self.deployed(image), strict=True))
