"""Conditions, loops, lists, states and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.registry import Tensors, operation
from runtimes.coreml_evaluator.values import BY_NAME

Run = Callable[..., list[Any]]


@operation()
def cond(pred: bool, blocks: list[Run]) -> tuple[Any, ...]:
    """Runs the first block if ``pred`` is true, and the second one otherwise."""
    return tuple(blocks[0]() if pred else blocks[1]())


@operation()
def while_loop(loop_vars: Tensors, blocks: list[Run]) -> tuple[Any, ...]:
    """Runs the second block as long as the first one is true, each on the results of the last run."""
    condition, body = blocks
    values: tuple[Any, ...] = loop_vars
    while condition(*values)[0].item():
        values = tuple(body(*values))
    return values


@operation()
def make_list(
    elem_shape: Any, init_length: int = 1, dynamic_length: bool = True, dtype: str = "fp32"
) -> list[Tensor | None]:
    """Returns a list of zeros, or, where the shape depends on what will be written, of places to write."""
    lengths = elem_shape if isinstance(elem_shape, list | tuple) else [elem_shape]
    if any(isinstance(length, str) for length in lengths):
        return [None] * init_length
    return [torch.zeros([int(length) for length in lengths], dtype=BY_NAME[dtype].dtype)] * init_length


@operation()
def list_length(ls: Any) -> Tensor:
    """Returns the number of elements."""
    return torch.tensor(len(ls))


@operation()
def list_read(ls: Any, index: int) -> Any:
    """Returns an element."""
    return ls[index]


@operation()
def list_write(ls: Any, index: int, value: Tensor) -> Any:
    """Returns a list with an element replaced or, after its end, added; zeros fill what is between."""
    zeros = torch.zeros_like(value)
    longer = [zeros if one is None else one for one in [*ls, *[None] * (index + 1 - len(ls))]]
    longer[index] = value
    return longer


@operation()
def list_gather(ls: Any, indices: Tensor) -> Tensor:
    """Returns elements, stacked."""
    return torch.stack([ls[index] for index in indices.reshape(-1).tolist()])


@operation()
def list_scatter(ls: Any, indices: Tensor, value: Tensor) -> Any:
    """Returns a list with elements replaced or added."""
    for index, one in zip(indices.reshape(-1).tolist(), value, strict=True):
        ls = list_write(ls, index, one)
    return ls


@operation(is_constant=False)
def read_state(input: Any) -> Tensor:
    """Returns the value of a state."""
    return input.value.clone()  # type: ignore[no-any-return]


@operation(is_constant=False)
def write_state(input: Any, data: Tensor) -> tuple[()]:
    """Replaces the value of a state."""
    input.value = data.clone()
    return ()


@operation()
def classify(probabilities: Tensor, classes: Any) -> tuple[Any, dict[Any, float]]:
    """Returns the most probable class, and the probability of each."""
    names = classes.tolist() if isinstance(classes, Tensor) else list(classes)
    names = [name.item() if isinstance(name, Tensor) else name for name in names]
    found = dict(zip(names, probabilities.reshape(-1).tolist(), strict=True))
    return max(found, key=lambda name: found[name]), found
