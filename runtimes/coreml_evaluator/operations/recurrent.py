"""Recurrent layers over ``x [S, B, I]``: a step after the other, as Core ML describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from runtimes.coreml_evaluator.operations.activations import BY_NAME
from runtimes.coreml_evaluator.operations.registry import operation


def ordered(x: Tensor, direction: str) -> Tensor:
    """Returns a sequence in the order in which a layer reads it."""
    return x.flip(0) if direction == "reverse" else x


def over_time(x: Tensor, state: Tensor, step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Returns the states after every step of a sequence, ``[S, B, H]``."""
    states = []
    for one in x:
        state = step(one, state)
        states.append(state)
    return torch.stack(states)


def with_bias(values: Tensor, bias: Tensor | None) -> Tensor:
    """Returns values with a bias added if there is one."""
    return values if bias is None else values + bias


@operation()
def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """Returns the states ``[S, B, H]``, or the last one ``[1, B, H]``, and the last one ``[B, H]``."""
    active = BY_NAME[activation]
    states = over_time(
        ordered(x, direction), initial_h, lambda one, h: active(with_bias(one @ weight_ih.T + h @ weight_hh.T, bias))
    )
    return states if output_sequence else states[-1:], states[-1]


@operation()
def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the states ``[S, B, H]``, or the last one ``[1, B, H]``, and the last one ``[B, H]``.

    Rows of the weights belong to the reset gate, the output gate and the update gate, in this order. The reset gate
    multiplies the state, or, with ``reset_after``, the state's product with the weights.
    """
    gate, active = BY_NAME[recurrent_activation], BY_NAME[activation]
    size = initial_h.shape[-1]
    reset, output, update = torch.split(weight_hh, size)
    biases = torch.split(torch.zeros(3 * size) if bias is None else bias, size)

    def step(one: Tensor, h: Tensor) -> Tensor:
        given = torch.split(with_bias(one @ weight_ih.T, input_bias), size, -1)
        r = gate(given[0] + h @ reset.T + biases[0])
        z = gate(given[2] + h @ update.T + biases[2])
        recalled = r * (h @ output.T + biases[1]) if reset_after else (r * h) @ output.T + biases[1]
        return (1 - z) * active(given[1] + recalled) + z * h

    states = over_time(ordered(x, direction), initial_h, step)
    return states if output_sequence else states[-1:], states[-1]


@dataclass(frozen=True)
class Cell:
    """One direction of a long short-term memory.

    Rows of the weights belong to the input gate, the forget gate, the output gate and the cell, in this order; those of
    ``peephole`` to the first three. The memory is limited to [-clip, clip].
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    peephole: Tensor | None
    activations: tuple[str, str, str]
    clip: float | None

    def run(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the states ``[S, B, H]`` and the last memory ``[B, H]``."""
        gate, cell, active = (BY_NAME[name] for name in self.activations)
        size = h.shape[-1]
        peeps = torch.split(torch.zeros(3 * size) if self.peephole is None else self.peephole, size)
        states = []
        for one in x:
            total = with_bias(one @ self.weight_ih.T + h @ self.weight_hh.T, self.bias)
            i, f, o, z = torch.split(total, size, -1)
            c = gate(f + peeps[1] * c) * c + gate(i + peeps[0] * c) * cell(z)
            if self.clip is not None:
                c = c.clamp(-self.clip, self.clip)
            h = gate(o + peeps[2] * c) * active(c)
            states.append(h)
        return torch.stack(states), c


@operation()
def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the states ``[S, B, H]``, or the last one ``[1, B, H]``, and the last state and memory ``[B, H]``.

    With ``bidirectional``, the last axis holds the forward direction and, after it, the backward one.
    """
    names = (recurrent_activation, cell_activation, activation)
    forward = Cell(weight_ih, weight_hh, bias, peephole, names, clip)
    if direction != "bidirectional":
        states, memory = forward.run(ordered(x, direction), initial_h, initial_c)
        return states if output_sequence else states[-1:], states[-1], memory
    assert weight_ih_back is not None
    assert weight_hh_back is not None
    backward = Cell(weight_ih_back, weight_hh_back, bias_back, peephole_back, names, clip)
    (h, h_back), (c, c_back) = initial_h.chunk(2, -1), initial_c.chunk(2, -1)
    states, memory = forward.run(x, h, c)
    states_back, memory_back = backward.run(x.flip(0), h_back, c_back)
    last = torch.cat([states[-1], states_back[-1]], -1)
    both = torch.cat([states, states_back.flip(0)], -1) if output_sequence else last[None]
    return both, last, torch.cat([memory, memory_back], -1)
