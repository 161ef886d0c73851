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
from quantize.program import prepare, quantize
from quantize.recipe import FLOAT

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

    from calibration import TensorRange


@dataclass
class Programs:
    """Gives every program that the formats start from.

    Attributes:
        traced: The one program behind all.
        ranges: What calibration found; empty where INT8 is not asked for.
        restored: Operators that INT8 leaves in float.
        converted: INT8 programs by recipe and whether weights are folded.
    """

    traced: TracedModel
    ranges: Mapping[str, TensorRange] = field(default_factory=dict)
    restored: tuple[str, ...] = ()
    converted: dict[tuple[Recipe, bool], GraphModule] = field(default_factory=dict)

    def variant(self, target: Target, precision: str) -> Variant:
        """Returns what a target wants of a precision."""
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
        """How many values each of its operators puts out per image."""
        return count_values(self.without_norms)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What multiplies in the program."""
        return list_layers(self.without_norms)


@dataclass(frozen=True)
class Variant:
    """One form of the model, which any format can be written from. Equal variants give equal files.

    Attributes:
        precision: ``fp32``, ``fp16`` or ``int8``.
        half: Whether float parts before the head compute in float16.
        recipe: What is quantized; nothing for float precisions.
        programs: Where its program comes from.
        source: File of the same variant that a format is compiled from; None where it starts from the program.
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

    def program(self, *, folded: bool = True) -> GraphModule:
        """Returns its program, in float32 where it is not INT8.

        Args:
            folded: Store INT8 weights as int8; otherwise as float32 that is quantized in the graph.
        """
        return self.programs.program(self.recipe, folded=folded)

    def with_input(self, program: GraphModule, *, nhwc: bool = True) -> nn.Module:
        """Returns a program with the normalization in front.

        Args:
            program: From normalized images to the three outputs.
            nhwc: Take uint8 ``[B, S, S, 3]``; otherwise float32 ``[B, 3, S, S]`` in 0..255.
        """
        return InputStage(program, self.programs.traced.preprocessing, nhwc=nhwc)
