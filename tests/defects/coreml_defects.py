"""Defects of Core ML packages, in the program that their specification holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from runtimes.coreml_evaluator.package_files import specification_file
from tests.defects.registry import Registry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # coremltools imports ExecuTorch where it is installed, which warns
    from coremltools.proto import MIL_pb2, Model_pb2

Defect: TypeAlias = Callable[["Package"], bool]
"""Puts a defect into a package; returns False if it has no place for it."""

DEFECTS: Registry[Defect] = Registry()
"""Defects by name."""

FLOAT16, FLOAT32, INT32, BOOL = (MIL_pb2.DataType.Value(name) for name in ("FLOAT16", "FLOAT32", "INT32", "BOOL"))

BGR: Final = 30
"""Number of the color space blue, green, red."""


class Package:
    """The specification of a package, to be changed and saved.

    Attributes:
        block: The operations of its program.
    """

    def __init__(self, path: Path) -> None:
        """Reads it."""
        self.file = specification_file(path)
        self.specification = Model_pb2.Model()
        self.specification.ParseFromString(self.file.read_bytes())
        function = self.specification.mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]

    def save(self) -> None:
        """Writes it in place."""
        self.file.write_bytes(self.specification.SerializeToString(deterministic=True))

    def operations(self, kind: str) -> list[Any]:
        """Returns the operations of a kind, in order."""
        return [operation for operation in self.block.operations if operation.type == kind]

    def middle(self, kind: str) -> Any:
        """Returns the operation in the middle of those of a kind; None if there are none."""
        found = self.operations(kind)
        return found[len(found) // 2] if found else None

    def producer(self, name: str) -> Any:
        """Returns the operation that computes a value."""
        return next(found for found in self.block.operations if name in [output.name for output in found.outputs])

    def add_constant(self, name: str, values: object, kind: int) -> None:
        """Adds a constant before all operations, which are then other objects than before."""
        added = MIL_pb2.Operation(type="const")
        array = np.asarray(values)
        output = added.outputs.add(name=name)
        for place in (output.type, added.attributes["val"].type):
            place.tensorType.dataType = kind
            place.tensorType.rank = array.ndim
            for length in array.shape:
                place.tensorType.dimensions.add().constant.size = length
        tensor = added.attributes["val"].immediateValue.tensor
        if kind == FLOAT16:
            tensor.bytes.values = array.astype(np.float16).tobytes()
        else:
            field = {FLOAT32: tensor.floats, INT32: tensor.ints, BOOL: tensor.bools}[kind]
            field.values.extend(array.reshape(-1).tolist())
        rest = list(self.block.operations)
        del self.block.operations[:]
        self.block.operations.extend([added, *rest])

    def after(self, output: str, kind: str, source: str = "x", **inputs: str) -> None:
        """Computes an output further with one more operation, whose result only the caller of the model sees.

        Args:
            output: Name of the output.
            kind: Type of the operation.
            source: Name of the argument that takes the output as it was.
            inputs: Names of the other arguments' values.
        """
        last = self.producer(output)
        before = f"{output}_before_{len(self.block.operations)}"
        (described,) = [found for found in last.outputs if found.name == output]
        added = MIL_pb2.Operation(type=kind)
        added.outputs.add(name=output).type.CopyFrom(described.type)
        described.name = before
        for operation in self.block.operations:
            for bound in operation.inputs.values():
                for argument in bound.arguments:
                    if argument.name == output:
                        argument.name = before
        for name, value in {source: before, **inputs}.items():
            added.inputs[name].arguments.add(name=value)
        self.block.operations.append(added)


def replace_output(package: Package, output: str, other: str) -> bool:
    """Makes an output a copy of another one."""
    package.after(output, "identity")
    (copy,) = package.operations("identity")
    copy.inputs["x"].arguments[0].name = other
    return True


@DEFECTS.register
def corrected_is_primary(package: Package) -> bool:
    return replace_output(package, "corrected", "primary")


@DEFECTS.register
def primary_is_corrected(package: Package) -> bool:
    return replace_output(package, "primary", "corrected")


def rotate(package: Package, output: str) -> None:
    """Answers in another order of the classes."""
    package.add_constant(f"{output}_order", [1, 2, 3, 4, 5, 6, 0], INT32)
    for name, value, kind in (("axis", 1, INT32), ("batch_dims", 0, INT32), ("validate_indices", False, BOOL)):
        package.add_constant(f"{output}_{name}", value, kind)
    names = {name: f"{output}_{name}" for name in ("axis", "batch_dims", "validate_indices")}
    package.after(output, "gather", indices=f"{output}_order", **names)


@DEFECTS.register
def primary_rotated(package: Package) -> bool:
    rotate(package, "primary")
    return True


@DEFECTS.register
def labels_rotated(package: Package) -> bool:
    rotate(package, "corrected")
    rotate(package, "primary")
    return True


@DEFECTS.register
def confidence_is_zero(package: Package) -> bool:
    package.add_constant("nothing", 0.0, FLOAT32)
    package.after("confidence", "mul", y="nothing")
    return True


@DEFECTS.register
def confidence_inverted(package: Package) -> bool:
    package.add_constant("one", 1.0, FLOAT32)
    package.after("confidence", "sub", source="y", x="one")
    return True


@DEFECTS.register
def channels_swapped(package: Package) -> bool:
    """Declares that the picture is blue, green, red."""
    package.specification.description.input[0].type.imageType.colorSpace = BGR
    return True


@DEFECTS.register
def epsilon_of_a_layer_norm(package: Package) -> bool:
    norm = package.middle("layer_norm")
    if norm is None:
        return False
    constant = package.producer(norm.inputs["epsilon"].arguments[0].name)
    norm.inputs["epsilon"].arguments[0].name = "large"
    package.add_constant("large", 0.5, constant.outputs[0].type.tensorType.dataType)
    return True


@DEFECTS.register
def an_activation_replaced(package: Package) -> bool:
    """Turns a ReLU into a leaky one: as GELU for its approximation, a function that is almost the same."""
    relu = package.middle("relu")
    if relu is None:
        return False
    relu.type = "leaky_relu"
    relu.inputs["alpha"].arguments.add(name="slope")
    package.add_constant("slope", 0.02, relu.outputs[0].type.tensorType.dataType)
    return True


@DEFECTS.register
def a_scale_of_values_off_by_10_percent(package: Package) -> bool:
    """Reads a quantized value with another scale than it was written with."""
    dequantize = package.middle("dequantize")
    if dequantize is None:
        return False
    constant = package.producer(dequantize.inputs["scale"].arguments[0].name)
    tensor = constant.attributes["val"].immediateValue.tensor
    half = constant.outputs[0].type.tensorType.dataType == FLOAT16
    value = np.frombuffer(tensor.bytes.values, np.float16)[0] if half else tensor.floats.values[0]
    dequantize.inputs["scale"].arguments[0].name = "wide"
    package.add_constant("wide", float(value) * 1.1, FLOAT16 if half else FLOAT32)
    return True


@DEFECTS.register
def head_in_float16(package: Package) -> bool:
    """Declares in float16 what the head's exponentials and logarithms return."""
    found = [operation for kind in ("exp", "log") for operation in package.operations(kind)]
    for operation in found:
        operation.outputs[0].type.tensorType.dataType = FLOAT16
    return bool(found)


def inject(path: Path, name: str) -> bool:
    """Puts a defect into a package, in place; returns False if it has no place for it."""
    package = Package(path)
    if not DEFECTS[name](package):
        return False
    package.save()
    return True
