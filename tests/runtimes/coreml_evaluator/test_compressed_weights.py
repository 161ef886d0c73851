"""Compressed weights, decompressed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from runtimes.coreml_evaluator.operations import OPERATIONS
from runtimes.coreml_evaluator.values import unpack


def test_an_operation_per_form() -> None:
    forms = {name for name in OPERATIONS if name.startswith("constexpr_")}
    assert len(forms) == 7


def compute(name: str, *arguments: Any) -> Any:
    """Returns what a form makes of arguments; lists become tensors."""
    return OPERATIONS[name].function(*(torch.tensor(a) if isinstance(a, list) else a for a in arguments))


def test_a_scale_per_channel() -> None:
    """0.5 (1 - 1), 0.5 (2 - 1), 2 (3 - 0), 2 (4 - 0)."""
    found = compute("constexpr_affine_dequantize", [[1, 2], [3, 4]], [1, 0], [0.5, 2.0], 0)
    assert found.tolist() == [[0.0, 0.5], [6.0, 8.0]]


def test_a_scale_per_block() -> None:
    """Two columns share a scale, and an offset."""
    found = compute("constexpr_blockwise_shift_scale", [[1, 2, 3, 4]], [[10.0, 100.0]], [[0, 1]])
    assert found.tolist() == [[10.0, 20.0, 200.0, 300.0]]


def test_sparse_weights() -> None:
    """0b0110 marks positions 1 and 2, with one bit per position or one number."""
    packed = torch.tensor([0b0110], dtype=torch.uint8)
    assert compute("constexpr_sparse_to_dense", [5.0, 7.0], packed, (2, 2)).tolist() == [[0, 5], [7, 0]]
    assert compute("constexpr_sparse_to_dense", [5.0, 7.0], [[0, 1], [1, 0]]).tolist() == [[0, 5], [7, 0]]


def test_a_table_of_four_values() -> None:
    """Indices 3, 0, 1, 2 of two bits each, from the least significant bit upward."""
    packed = torch.tensor([0b10_01_00_11], dtype=torch.uint8)
    found = compute("constexpr_lut_to_dense", packed, [0.0, 1.0, 4.0, 9.0], (2, 2))
    assert found.tolist() == [[9, 0], [1, 4]]


def test_a_table_per_block() -> None:
    """The first row looks up (1, 2), the second one (3, 4)."""
    tables = torch.tensor([[[[1.0], [2.0]]], [[[3.0], [4.0]]]])
    assert compute("constexpr_lut_to_dense", [[0, 1], [1, 0]], tables).tolist() == [[1, 2], [4, 3]]


def test_entries_of_two_values() -> None:
    """An index stands for two weights, which lie next to each other along the first axis."""
    tables = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert compute("constexpr_lut_to_dense", [[0, 1]], tables, None, 0).tolist() == [[1, 3], [2, 4]]


def test_sparse_weights_in_a_table_and_in_blocks() -> None:
    mask, values = compute("constexpr_lut_to_sparse", [[1, 0, 1]], [1, 0], torch.tensor([[[[5.0], [6.0]]]]))
    assert (mask.tolist(), values.tolist()) == ([[1, 0, 1]], [6, 5])
    mask, values = compute("constexpr_sparse_blockwise_shift_scale", [[1, 0, 1]], [2, 3], [[0.5]], [[1]])
    assert (mask.tolist(), values.tolist()) == ([[1, 0, 1]], [0.5, 1.0])


def test_weights_in_float16_are_those_of_their_cast() -> None:
    assert compute("constexpr_cast", [1.5], "fp32").tolist() == [1.5]


@pytest.mark.parametrize(
    ("bits", "signed", "values"),
    [(1, False, [1, 0, 1, 1]), (2, False, [3, 0, 2, 1]), (4, True, [-8, 7, -1, 0]), (6, False, [63, 1, 32, 5])],
)
def test_packed_numbers(bits: int, signed: bool, values: list[int]) -> None:
    """Bit i of the stream is bit i % 8 of byte i // 8, and each number begins with its least significant bit."""
    stream = [(value >> place) & 1 for value in values for place in range(bits)]
    packed = np.packbits(np.array(stream, np.uint8), bitorder="little")
    assert unpack(packed, bits, len(values), signed=signed).tolist() == values
