"""Defects of TFLite files, which are changed where they are, so that nothing moves in them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tests.defects.registry import Registry

Defect: TypeAlias = Callable[["File"], bool]
"""Puts a defect into a file; returns False if it has no place for it."""

DEFECTS: Registry[Defect] = Registry()
"""Defects by name."""

TENSOR_INDEX = 6
"""Offset of the tensor's number in the table of a signature's output."""


class File:
    """The content of a file, to be changed.

    Attributes:
        content: Its bytes.
        model: The model in it, which reads them.
    """

    def __init__(self, path: Path) -> None:
        """Reads it."""
        self.content = bytearray(path.read_bytes())
        self.model: Any = schema.Model.GetRootAs(self.content, 0)
        self.graph: Any = self.model.Subgraphs(0)

    def output(self, name: str) -> Any:
        """Returns an output of the signature."""
        signature = self.model.SignatureDefs(0)
        found = (signature.Outputs(i) for i in range(signature.OutputsLength()))
        return next(output for output in found if output.Name().decode() == name)

    def redirect(self, name: str, tensor: int) -> bool:
        """Makes another tensor an output of the signature."""
        table = self.output(name)._tab
        struct.pack_into("<I", self.content, table.Pos + table.Offset(TENSOR_INDEX), tensor)
        return True

    def operators(self) -> Iterator[Any]:
        """Yields the operators in order."""
        return (self.graph.Operators(i) for i in range(self.graph.OperatorsLength()))


@DEFECTS.register
def corrected_is_primary(file: File) -> bool:
    return file.redirect("corrected", file.output("primary").TensorIndex())


@DEFECTS.register
def primary_is_corrected(file: File) -> bool:
    return file.redirect("primary", file.output("corrected").TensorIndex())


@DEFECTS.register
def corrected_and_primary_swapped(file: File) -> bool:
    corrected, primary = (file.output(name).TensorIndex() for name in ("corrected", "primary"))
    return file.redirect("corrected", primary) and file.redirect("primary", corrected)


def zero_points(file: File) -> list[NDArray[np.int64]]:
    """Returns the zero points of what convolutions compute, as views of the content; not those at an end of 8 bits."""
    points = []
    for operator in file.operators():
        quantization = file.graph.Tensors(operator.Outputs(0)).Quantization()
        code = file.model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if code == schema.BuiltinOperator.CONV_2D and quantization.ZeroPointLength() == 1:
            value = quantization.ZeroPointAsNumpy()
            if -128 < value[0] < 127 and value[0]:
                points.append(value)
    return points


@DEFECTS.register
def a_zero_point_off_by_one(file: File) -> bool:
    points = zero_points(file)
    if not points:
        return False
    points[len(points) // 2][0] += 1
    return True


def inject(path: Path, name: str) -> bool:
    """Puts a defect into a file, in place; returns False if it has no place for it."""
    file = File(path)
    if not DEFECTS[name](file):
        return False
    path.write_bytes(file.content)
    return True
