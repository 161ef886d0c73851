"""Values of a program: their types, and constants as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from arbex.errors import BackendError

if TYPE_CHECKING:
    from runtimes.coreml_evaluator.package_files import WeightFiles

Value: TypeAlias = Any
"""What a name of a program stands for: a tensor, a string, a list of tensors, or a state."""


@dataclass(eq=False)
class State:
    """A tensor that a program keeps between runs."""

    value: Tensor


@dataclass(frozen=True)
class NumberType:
    """A type of numbers in MIL.

    Attributes:
        name: Its name in MIL.
        dtype: Type of the tensors that hold such numbers here.
        stored: NumPy type of its bytes, or of its packed bytes if it is narrower than a byte.
        storage: Its name in weight files.
        bits: Number of bits.
    """

    name: str
    dtype: torch.dtype
    stored: str
    storage: str
    bits: int

    @property
    def is_signed(self) -> bool:
        """Whether numbers narrower than a byte are negative if their first bit is set."""
        return self.name.startswith("int")


TYPES = {
    # Values of float16 are held in float32, and rounded where float16 is evaluated.
    10: NumberType("fp16", torch.float32, "<f2", "fp16", 16),
    11: NumberType("fp32", torch.float32, "<f4", "float", 32),
    12: NumberType("fp64", torch.float64, "<f8", "", 64),
    1: NumberType("bool", torch.bool, "?", "uint8", 8),
    21: NumberType("int8", torch.int8, "i1", "int8", 8),
    22: NumberType("int16", torch.int16, "<i2", "int16", 16),
    23: NumberType("int32", torch.int32, "<i4", "int32", 32),
    24: NumberType("int64", torch.int64, "<i8", "", 64),
    25: NumberType("int4", torch.int8, "u1", "int4", 4),
    # PyTorch computes little with unsigned types wider than a byte, so that these are held in wider ones.
    31: NumberType("uint8", torch.uint8, "u1", "uint8", 8),
    32: NumberType("uint16", torch.int32, "<u2", "uint16", 16),
    33: NumberType("uint32", torch.int64, "<u4", "uint32", 32),
    34: NumberType("uint64", torch.int64, "<u8", "", 64),
    35: NumberType("uint4", torch.uint8, "u1", "uint4", 4),
    36: NumberType("uint2", torch.uint8, "u1", "uint2", 2),
    37: NumberType("uint1", torch.uint8, "u1", "uint1", 1),
    38: NumberType("uint6", torch.uint8, "u1", "uint6", 6),
    39: NumberType("uint3", torch.uint8, "u1", "uint3", 3),
}
"""Types of numbers by their number in MIL's protocol buffers."""

STRING = 2
"""Number of the type of strings."""

BY_NAME = {known.name: known for known in TYPES.values()}


def number_type(value_type: Any) -> NumberType | None:
    """Returns the type of a tensor's numbers; None for strings, lists and dictionaries, and the wrapped one of a state.

    Args:
        value_type: A protocol buffer of type ``ValueType``.

    Raises:
        BackendError: If the type is not known.
    """
    kind = value_type.WhichOneof("type")
    if kind == "stateType":
        return number_type(value_type.stateType.wrappedType)
    if kind != "tensorType" or value_type.tensorType.dataType == STRING:
        return None
    number = value_type.tensorType.dataType
    if number not in TYPES:
        raise BackendError(
            f"The program has values of type {number}, which this version does not know.",
            remedy="Convert the model for iOS 18 or earlier.",
        )
    return TYPES[number]


def dimensions_of(value_type: Any) -> tuple[int | None, ...] | None:
    """Returns the shape of a tensor's type, with None for lengths that are free; None if any shape is allowed."""
    tensor = value_type.tensorType
    if tensor.rank < 0:
        return None
    return tuple(d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions)


def shape_of(value_type: Any) -> tuple[int, ...]:
    """Returns the shape of a tensor's type whose dimensions are known."""
    return tuple(d.constant.size for d in value_type.tensorType.dimensions)


def unpack(packed: np.ndarray[Any, Any], bits: int, count: int, *, signed: bool = False) -> np.ndarray[Any, Any]:
    """Returns numbers of less than eight bits, which are packed from the least significant bit of each byte upward."""
    flat = np.unpackbits(packed.view(np.uint8), bitorder="little")[: count * bits].reshape(count, bits)
    numbers = flat.astype(np.int16) @ (1 << np.arange(bits, dtype=np.int16))
    if signed:
        numbers = np.where(flat[:, -1] == 1, numbers - (1 << bits), numbers)
        return numbers.astype(np.int8)
    return numbers.astype(np.uint8)


def read_value(value: Any, weights: WeightFiles) -> Value:
    """Returns a constant.

    Args:
        value: A protocol buffer of type ``Value``.
        weights: Weight files of the package.

    Raises:
        BackendError: If the value has an unknown type, or too few numbers for its shape.
    """
    if value.WhichOneof("value") == "immediateValue" and value.immediateValue.WhichOneof("value") != "tensor":
        kind = value.immediateValue.WhichOneof("value")
        return [read_value(item, weights) for item in getattr(value.immediateValue, kind).values]
    found = number_type(value.type)
    if found is None:
        strings = list(value.immediateValue.tensor.strings.values)
        return strings if value.type.tensorType.rank else strings[0]
    shape = shape_of(value.type)
    if value.WhichOneof("value") == "blobFileValue":
        numbers = read_stored(value.blobFileValue, found, weights)
    else:
        numbers = read_immediate(value.immediateValue.tensor, found, math.prod(shape))
    if numbers.size != math.prod(shape):
        raise BackendError(f"A constant of shape {list(shape)} has {numbers.size} values.")
    return torch.from_numpy(np.ascontiguousarray(numbers.reshape(shape))).to(found.dtype)


def read_stored(place: Any, kind: NumberType, weights: WeightFiles) -> np.ndarray[Any, Any]:
    """Returns the flat array at a place in a weight file."""
    numbers = np.array(weights.read(place.fileName, place.offset, kind.storage))
    return numbers.view(np.float16).astype(np.float32) if kind.name == "fp16" else widened(numbers)


def read_immediate(tensor: Any, kind: NumberType, count: int) -> np.ndarray[Any, Any]:
    """Returns the flat array that a program holds itself."""
    field = tensor.WhichOneof("value")
    if field == "bytes":
        stored = np.frombuffer(tensor.bytes.values, kind.stored)
        return unpack(stored, kind.bits, count, signed=kind.is_signed) if kind.bits < 8 else widened(stored.copy())
    return np.array(getattr(tensor, field).values) if field else np.zeros(0)


def widened(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns an array in a type that PyTorch can hold without loss."""
    wider = {"float16": np.float32, "uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
    return numbers.astype(wider.get(numbers.dtype.name, numbers.dtype))
