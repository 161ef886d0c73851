"""From one traced model to the files of every format, each made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule, Node

from arbex.progress import Reporter
from calibration import TensorRange
from export.census import Census, Layer, list_layers, operators_of, take_census
from export.coreml_package import write_coreml
from export.elementwise import count_values, list_elementwise
from export.half_precision import to_half
from export.litert_model import write_litert
from export.onnx_graph import write_onnx
from export.rewrites import convolve_averages, flatten_linear_layers, separate_rounded_copies, spell_out_prelus
from export.rtx_engine import write_engine
from export.targets import HALF_ACTIVATIONS, SUFFIXES, Target
from export.torch_tensorrt_engine import write_torch_tensorrt
from export.trace import InputStage, TracedModel
from quantize.program import prepare, quantize
from quantize.recipe import FLOAT, Recipe
from runtimes.coreml_package import read_package
from runtimes.vendor_output import hidden_output


@dataclass
class Lowering:
    """Makes artifacts in a work folder and remembers them, so that targets share files.

    Attributes:
        traced: The one program.
        ranges: What calibration found, where INT8 is asked for.
        restored: Operators that INT8 leaves in float.
        head_weight: Weight of the head's first linear layer.
        folder: Work folder.
        report: Takes a line a file.
        made: Files by what distinguishes them.
        converted: INT8 programs by recipe and whether weights are folded.
    """

    traced: TracedModel
    ranges: Mapping[str, TensorRange]
    restored: tuple[str, ...]
    head_weight: NDArray[np.float32]
    folder: Path
    report: Reporter
    made: dict[tuple[str, str, bool], Path] = field(default_factory=dict)
    converted: dict[tuple[Recipe, bool], GraphModule] = field(default_factory=dict)

    def artifact(self, target: Target, format: str, precision: str) -> Path:  # noqa: A002 - the field's word
        """Returns the file of a format and precision for a target, making it at first."""
        half = precision == "fp16" or (precision == "int8" and target.name in HALF_ACTIVATIONS)
        key = (format, precision, half)
        if key not in self.made:
            folder = self.folder / "-".join((format, precision, "half" if half else "full"))
            folder.mkdir()
            path = folder / f"model.{precision}.{SUFFIXES[format]}"
            started = time.monotonic()
            write = self.writers()[format]
            with hidden_output():
                write(target, precision, half, path)
            self.report.line(f"{path.name}: made in {time.monotonic() - started:.1f} s")
            self.made[key] = path
        return self.made[key]

    def writers(self) -> dict[str, Callable[[Target, str, bool, Path], None]]:
        """Returns the function that makes each format."""
        return {
            "onnx": self.onnx,
            "mlpackage": self.mlpackage,
            "tflite": self.tflite,
            "rtx-engine": self.rtx_engine,
            "tensorrt-engine": self.tensorrt_engine,
        }

    def recipe(self, target: Target) -> Recipe:
        """Returns a target's recipe, with what a gate restored."""
        return replace(target.recipe, float_operators=self.restored)

    def program(self, precision: str, recipe: Recipe, *, fold: bool = True) -> GraphModule:
        """Returns the program of a precision, in float32 where it is not int8; each is converted once."""
        if precision != "int8":
            return self.traced.program
        key = (recipe, fold)
        if key not in self.converted:
            self.converted[key] = quantize(self.traced.program, self.ranges, recipe, fold=fold)
        return self.converted[key]

    def deployed(self, program: GraphModule, *, nhwc: bool = True) -> nn.Module:
        """Returns a program with the normalization in front."""
        return InputStage(program, self.traced.preprocessing, nhwc=nhwc)

    def census(self, target: Target, format: str, path: Path) -> Census:  # noqa: A002 - the field's word
        """Returns what an INT8 file really computes in integers."""
        recipe = self.recipe(target)
        with hidden_output():
            found = operators_of(path, format, recipe)
            return take_census(self.layers, recipe, found, list_elementwise(self.folded, self.values, recipe))

    @cached_property
    def folded(self) -> GraphModule:
        """The program in float, with batch norms folded."""
        return prepare(self.traced.program, FLOAT)

    @cached_property
    def values(self) -> dict[Node, int]:
        """How many values each of its operators puts out."""
        return count_values(self.folded)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What multiplies in the program."""
        return list_layers(self.folded)

    def onnx(self, target: Target, precision: str, half: bool, path: Path) -> None:
        """Writes ONNX, strongly typed."""
        program = self.program(precision, self.recipe(target))
        program = to_half(program) if half else spell_out_prelus(flatten_linear_layers(program))
        write_onnx(self.deployed(program), self.traced.side, path, unsigned=target.recipe.has_zero_points)

    def mlpackage(self, target: Target, precision: str, half: bool, path: Path) -> None:
        """Writes a Core ML package; beside float32, everything before the head computes in float16."""
        deployed = self.deployed(self.program(precision, self.recipe(target)), nhwc=False)
        write_coreml(deployed, self.traced.side, path, half=half, head_weight=self.head_weight)

    def tflite(self, target: Target, precision: str, half: bool, path: Path) -> None:
        """Writes LiteRT."""
        program = self.program(precision, self.recipe(target), fold=False)
        if precision == "int8":
            program = convolve_averages(separate_rounded_copies(program))
        program = spell_out_prelus(program)
        write_litert(self.deployed(program), self.traced.side, path, half=half, quantized=precision == "int8")

    def rtx_engine(self, target: Target, precision: str, half: bool, path: Path) -> None:
        """Builds an RTX engine from the target's own ONNX file, which its formats list first."""
        write_engine(self.made["onnx", precision, half], self.traced.side, path)

    def tensorrt_engine(self, target: Target, precision: str, half: bool, path: Path) -> None:
        """Compiles an engine with torch-tensorrt, on the GPU of this machine."""
        program = self.program(precision, self.recipe(target))
        write_torch_tensorrt(self.deployed(to_half(program) if half else program), self.traced.side, path)


def content_of(path: Path, format: str) -> dict[str, Any]:  # noqa: A002 - the field's word
    """Returns what the manifest records of a file that nothing here executes."""
    return asdict(read_package(path)) if format == "mlpackage" else {}
