"""The table of operations, and the conversion of their arguments to what a function's parameters declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, get_type_hints

from torch import Tensor

Ints: TypeAlias = tuple[int, ...]
Floats: TypeAlias = tuple[float, ...]
Bools: TypeAlias = tuple[bool, ...]
Tensors: TypeAlias = tuple[Tensor, ...]

Function = TypeVar("Function", bound=Callable[..., Any])
Convert: TypeAlias = Callable[[Any], Any]

OP_SET: Final = "op_set"
"""Parameter of operations whose meaning depends on the op set: the number of the iOS version."""


def as_is(value: Any) -> Any:
    """Returns the value."""
    return value


def to_scalar(value: Any) -> Any:
    """Returns the number, truth value or string in a tensor of one value."""
    return value.item() if isinstance(value, Tensor) else value


def to_tuple(value: Any) -> tuple[Any, ...]:
    """Returns the numbers of a tensor of rank 1 or less, or the numbers in a list of tensors."""
    if isinstance(value, Tensor):
        return tuple(value.reshape(-1).tolist())
    return tuple(to_scalar(item) for item in value)


def to_tensors(value: Any) -> tuple[Tensor, ...]:
    """Returns one tensor or several as a tuple."""
    return (value,) if isinstance(value, Tensor) else tuple(value)


CONVERSIONS: dict[Any, Convert] = {
    int: to_scalar,
    float: to_scalar,
    bool: to_scalar,
    str: to_scalar,
    Ints: to_tuple,
    Floats: to_tuple,
    Bools: to_tuple,
    Tensors: to_tensors,
}
"""Conversion of an argument by the type that a parameter declares; anything else takes the value as it is."""


@dataclass(frozen=True)
class Operation:
    """An operation of MIL.

    Attributes:
        name: Its name.
        function: Computes it from arguments by MIL's names.
        is_constant: Whether the same arguments always give the same outputs, so that it may be computed at loading.
    """

    name: str
    function: Callable[..., Any]
    is_constant: bool = True

    @property
    def conversions(self) -> Mapping[str, Convert]:
        """The conversion of each parameter."""
        return conversions_of(self.function)


@cache
def conversions_of(function: Callable[..., Any]) -> Mapping[str, Convert]:
    """Returns the conversion of each parameter of a function, from its annotations."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    found = {}
    for name, hint in hints.items():
        options = [hint, *getattr(hint, "__args__", ())] if type(None) in getattr(hint, "__args__", ()) else [hint]
        found[name] = next((CONVERSIONS[option] for option in options if option in CONVERSIONS), as_is)
    return found


OPERATIONS: dict[str, Operation] = {}
"""All operations by name."""


def operation(*names: str, is_constant: bool = True) -> Callable[[Function], Function]:
    """Registers a function under the names of operations, by default under its own."""

    def register(function: Function) -> Function:
        for name in names or (function.__name__.rstrip("_"),):
            OPERATIONS[name] = Operation(name, function, is_constant)
        return function

    return register
