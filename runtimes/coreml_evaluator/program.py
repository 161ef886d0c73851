"""A Core ML program that can be run: named inputs in, named outputs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from arbex.checks import check_name
from arbex.errors import InputError
from runtimes.coreml_evaluator.package_files import read_specification
from runtimes.coreml_evaluator.plan import Block, Planner, check_operations
from runtimes.coreml_evaluator.values import State, Value, dimensions_of, shape_of

Shape: TypeAlias = tuple[int | None, ...]

PRECISIONS: Final = ("fp32", "fp16")
MAIN: Final = "main"

OP_SETS = {"CoreML5": 15, "CoreML6": 16, "CoreML7": 17, "CoreML8": 18, "CoreML9": 26}
"""Number of the iOS version that each op set belongs to."""

RGB, BGR, GRAYSCALE, GRAYSCALE_HALF = 20, 30, 10, 40
COLORS = {RGB: 3, BGR: 3, GRAYSCALE: 1, GRAYSCALE_HALF: 1}
"""Channels of an image by the number of its color space."""


@dataclass(frozen=True)
class ImageInput:
    """An input that is an image.

    Attributes:
        name: Its name.
        colors: Number of its color space in Core ML.
    """

    name: str
    colors: int

    def to_tensor(self, image: ArrayLike) -> Tensor:
        """Returns an image as Core ML passes it to the program: ``[1, C, H, W]``, in the order of its channels.

        Args:
            image: Values of 0 to 255, ``[H, W, 3]`` as RGB or ``[H, W]``, with or without a leading 1.

        Raises:
            InputError: If the shape is another one.
        """
        pixels = torch.as_tensor(np.asarray(image)).to(torch.float32)
        channels = COLORS[self.colors]
        if channels == 1 and pixels.ndim in (2, 3):
            return pixels.reshape(1, 1, *pixels.shape[-2:])
        if pixels.ndim in (3, 4) and pixels.shape[-1] == 3 == channels and (pixels.ndim == 3 or len(pixels) == 1):
            planes = pixels.reshape(pixels.shape[-3:]).permute(2, 0, 1)[None]
            return planes.flip(1) if self.colors == BGR else planes
        raise InputError(
            f"The image for {self.name!r} has the shape {list(pixels.shape)}.",
            allowed=f"Allowed: {'[H, W, 3]' if channels == 3 else '[H, W]'}.",
        )


class Program:
    """A function of a Core ML package, ready to run.

    Attributes:
        block: Its plan.
        shapes: Shapes of its inputs by name, with None for lengths that are free, or None if any shape is allowed.
        images: Its inputs that are images, by name.
        states: Its states, which it keeps between runs, by name.
        outputs: Names of its outputs in order.
        metadata: What the author of the package says about it, by key.
    """

    def __init__(
        self,
        block: Block,
        shapes: Mapping[str, Shape | None],
        images: Mapping[str, ImageInput],
        states: Mapping[str, State],
        outputs: tuple[str, ...],
        metadata: Mapping[str, str],
    ) -> None:
        """Takes the parts; ``load`` reads them from a package."""
        self.block, self.shapes, self.images, self.states, self.outputs = block, shapes, images, states, outputs
        self.metadata = metadata

    @classmethod
    def load(cls, package: Path | str, precision: str = "fp32", function: str = "") -> Program:
        """Reads a package.

        Args:
            package: Folder of the package.
            precision: ``fp32`` computes everything in float32; ``fp16`` also rounds every value that the program
                declares in float16, so that overflow shows.
            function: Name of the function; by default the package's default one.

        Raises:
            MissingPackageError: If coremltools is not installed.
            BackendError: If the package cannot be read.
            UnsupportedError: If the precision, the function, the op set or an operation is not known.
        """
        check_name("precision", precision, PRECISIONS)
        specification, weights = read_specification(Path(package))
        description, functions = specification.description, specification.mlProgram.functions
        name = function or description.defaultFunctionName or MAIN
        check_name("function", name, functions)
        described = next((found for found in description.functions if found.name == name), description)
        op_set = functions[name].opset
        check_name("op set", op_set, OP_SETS)
        block = functions[name].block_specializations[op_set]
        check_operations(block, op_set)
        planner = Planner(weights, OP_SETS[op_set], half=precision == "fp16")
        with torch.inference_mode():
            plan = planner.function(functions[name], block)
        return cls(
            plan,
            {found.name: dimensions_of(found.type) for found in functions[name].inputs},
            {
                found.name: ImageInput(found.name, found.type.imageType.colorSpace)
                for found in described.input
                if found.type.WhichOneof("Type") == "imageType"
            },
            {
                found.name: State(torch.zeros(shape_of(found.type.stateType.wrappedType)))
                for found in functions[name].inputs
                if found.type.WhichOneof("type") == "stateType"
            },
            tuple(found.name for found in described.output),
            dict(description.metadata.userDefined),
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs in order, without states."""
        return tuple(declared.name for declared in self.block.inputs if declared.name not in self.states)

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Any]:
        """Returns the outputs by name: arrays, or what a classifier outputs.

        Args:
            inputs: An array per input: images of 0 to 255 in the shape that ``ImageInput`` takes, everything else in
                the shape that the program declares.

        Raises:
            InputError: If an input is missing, not known, or has another shape.
            BackendError: If an operation fails.
        """
        results = dict(zip(self.block.outputs, self.run_block(inputs), strict=True))
        return {name: to_array(results[name]) for name in self.outputs}

    def values(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float32]]:
        """Returns every tensor of floats that the program computes from some inputs, by name; arguments as ``run``."""
        seen: dict[str, Value] = {}
        self.run_block(inputs, seen)
        floats = {
            name: value for name, value in seen.items() if isinstance(value, Tensor) and value.is_floating_point()
        }
        return {name: value.float().numpy() for name, value in floats.items()}

    @torch.inference_mode()
    def run_block(self, inputs: Mapping[str, ArrayLike], seen: dict[str, Value] | None = None) -> list[Value]:
        """Returns the results of the program's block, and all values in ``seen``."""
        if set(inputs) != set(self.inputs):
            raise InputError(
                f"The inputs are {', '.join(sorted(inputs)) or 'none'}.", allowed=f"Allowed: {', '.join(self.inputs)}."
            )
        given = [self.states.get(d.name) or d.cast(self.to_tensor(d.name, inputs[d.name])) for d in self.block.inputs]
        return self.block.run(*given, seen=seen)

    def to_tensor(self, name: str, value: ArrayLike) -> Tensor:
        """Returns an input as the program takes it."""
        image = self.images.get(name)
        tensor = image.to_tensor(value) if image else torch.as_tensor(np.asarray(value, order="C"))
        if not fits(tensor.shape, self.shapes[name]):
            raise InputError(
                f"The input {name!r} has the shape {list(tensor.shape)}.",
                allowed=f"Allowed: {shown(self.shapes[name])}.",
            )
        return tensor

    def reset(self) -> None:
        """Sets all states to zero."""
        for state in self.states.values():
            state.value = torch.zeros_like(state.value)


def fits(shape: Sequence[int], allowed: Shape | None) -> bool:
    """Tells whether a shape is allowed."""
    if allowed is None:
        return True
    return len(shape) == len(allowed) and all(a is None or a == b for a, b in zip(allowed, shape, strict=True))


def shown(shape: Shape | None) -> str:
    """Returns a shape as messages show it, such as ``[1, any, 64]``."""
    return f"[{', '.join('any' if length is None else str(length) for length in shape or ())}]"


def to_array(value: Any) -> Any:
    """Returns a tensor as an array, and anything else as it is."""
    return value.numpy() if isinstance(value, Tensor) else value
