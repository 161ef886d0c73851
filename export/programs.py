"""The programs of one model: in float, and in INT8 by recipe, each converted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from arbex.provenance import Recipe, Work
from export.census import Layer, list_layers, take_census
from export.elementwise import count_values, list_elementwise
from export.operators import Operator
from export.targets import Target
from export.trace import InputStage, TracedModel
from quantize.kernel_emulation import as_kernels_compute
from quantize.program import prepare, quantize
from quantize.recipe import FLOAT

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

    from calibration import TensorRange


@dataclass
class Programs:
    """Provides the programs that formats start from.

    Attributes:
        traced: Traced model that all programs come from.
        ranges: Ranges of its activations; empty if INT8 is not requested.
        restored: Operators that INT8 leaves in float.
        converted: INT8 programs, by recipe and by whether weights are folded.
    """

    traced: TracedModel
    ranges: Mapping[str, TensorRange] = field(default_factory=dict)
    restored: tuple[str, ...] = ()
    converted: dict[tuple[Recipe, bool], GraphModule] = field(default_factory=dict)

    def variant(self, target: Target, precision: str) -> Variant:
        """Returns the variant of a precision for a target."""
        if precision == "int8":
            return Variant(precision, target.half, replace(target.recipe, float_operators=self.restored), self)
        return Variant(precision, precision == "fp16", FLOAT, self)

    def program(self, recipe: Recipe, *, folded: bool) -> GraphModule:
        """Returns the program of a recipe: from normalized float32 images ``[B, 3, S, S]`` to the three outputs."""
        if recipe == FLOAT:
            return self.traced.program
        if (recipe, folded) not in self.converted:
            self.converted[recipe, folded] = quantize(self.traced.program, self.ranges, recipe, fold=folded)
        return self.converted[recipe, folded]

    def work(self, recipe: Recipe, operators: list[Operator]) -> Work:
        """Returns what an INT8 file of a recipe computes in integers, from the operators that it holds."""
        return take_census(self.layers, recipe, operators, list_elementwise(self.without_norms, self.values, recipe))

    @cached_property
    def without_norms(self) -> GraphModule:
        """The program in float, with batch norms folded."""
        return prepare(self.traced.program, FLOAT)

    @cached_property
    def values(self) -> dict[Node, int]:
        """Number of values that each of its operators outputs per image."""
        return count_values(self.without_norms)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Operators of the program that multiply."""
        return list_layers(self.without_norms)


@dataclass(frozen=True)
class Variant:
    """One form of the model, which any format can be written from. Equal variants give equal files.

    Attributes:
        precision: ``fp32``, ``fp16`` or ``int8``.
        half: Whether float parts before the head compute in float16.
        recipe: What is quantized; ``FLOAT`` for float precisions.
        programs: Source of its program.
        source: File of the same variant that a format is compiled from; None if the format starts from the program.
    """

    precision: str
    half: bool
    recipe: Recipe
    programs: Programs = field(compare=False, repr=False)
    source: Path | None = field(default=None, compare=False)

    @property
    def is_int8(self) -> bool:
        """Whether the program holds Q/DQ pairs."""
        return self.precision == "int8"

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return self.programs.traced.side

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        return self.programs.traced.labels

    def program(self, *, folded: bool = True) -> GraphModule:
        """Returns its program, which is in float32 if it is not INT8.

        Args:
            folded: Whether to store INT8 weights as int8, or as float32 that is quantized in the graph.
        """
        return self.programs.program(self.recipe, folded=folded)

    def as_kernels_compute(self) -> GraphModule:
        """Returns its program as the integer kernels of its runtimes compute it, with everything else in float32."""
        program = self.program()
        return as_kernels_compute(program) if self.recipe.outputs else program

    def with_input(self, program: GraphModule, *, nhwc: bool = True) -> nn.Module:
        """Returns a program that begins with the normalization of pixels.

        Args:
            program: Program from normalized images to the three outputs.
            nhwc: Whether to take uint8 ``[B, S, S, 3]``, or float32 ``[B, 3, S, S]`` in 0..255.
        """
        return InputStage(program, self.programs.traced.preprocessing, nhwc=nhwc, half=self.recipe.half)
