"""Operations on each element: arithmetic, comparisons, logic, casts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import OPERATIONS, Operation, operation
from runtimes.coreml_evaluator.values import BY_NAME


def unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Returns an operation on each element of ``x``."""

    def apply(x: Tensor) -> Tensor:
        return function(x)

    return apply


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Returns an operation on the elements of ``x`` and ``y``, which are broadcast."""

    def apply(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)

    return apply


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": torch.Tensor.clone,
    "logical_not": torch.logical_not,
    "round": torch.round,  # halves to even, as NumPy rounds
    "sign": torch.sign,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": torch.floor_divide,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,  # with the sign of the divisor
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "sub": torch.sub,
}

for name, single in UNARY.items():
    OPERATIONS[name] = Operation(name, unary(single))
for name, double in BINARY.items():
    OPERATIONS[name] = Operation(name, binary(double))


@operation()
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """Divides; integers are divided with the result rounded toward zero."""
    if x.is_floating_point() or y.is_floating_point():
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


@operation()
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Limits values to ``[alpha, beta]``."""
    return x.clamp(alpha, beta)


@operation()
def threshold(x: Tensor, alpha: float) -> Tensor:
    """Raises values below ``alpha`` to it."""
    return x.clamp(min=alpha)


@operation()
def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Returns 1 / (x + epsilon)."""
    return 1 / (x + epsilon)


@operation()
def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """Returns the natural logarithm of x + epsilon."""
    return torch.log(x + epsilon)


@operation()
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """Returns 1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + epsilon)


@operation()
def cast(x: Tensor, dtype: str) -> Tensor:
    """Converts the type; the fraction of a number is cut off where the type has none."""
    return x.to(BY_NAME[dtype].dtype)


@operation()
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Takes elements of ``a`` where ``cond`` is true, and of ``b`` elsewhere."""
    return torch.where(cond, a, b)
