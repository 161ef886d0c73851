"""Reductions along axes, by default all, and cumulative sums."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import OPERATIONS, Ints, Operation, operation

Reduce = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """Returns the product along axes."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


REDUCTIONS: dict[str, Reduce] = {
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "reduce_prod": product,
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}


def reduction(reduce: Reduce) -> Callable[..., Tensor]:
    """Returns the operation of a reduction."""

    def apply(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
        return reduce(x, axes or tuple(range(x.ndim)), keep_dims)

    return apply


for name, function in REDUCTIONS.items():
    OPERATIONS[name] = Operation(name, reduction(function))


@operation()
def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """Returns the index of the first largest value along an axis; the program declares the output's type."""
    return x.argmax(axis, keepdim=keep_dims)


@operation()
def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """Returns the index of the first smallest value along an axis; the program declares the output's type."""
    return x.argmin(axis, keepdim=keep_dims)


@operation()
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Returns sums along an axis up to every value, from the end if ``reverse``, without itself if ``exclusive``."""
    given = x.flip(axis) if reverse else x
    sums = given.cumsum(axis)
    if exclusive:
        sums = sums - given
    return sums.flip(axis) if reverse else sums
