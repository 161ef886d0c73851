"""Recognizing what surrounds an operator in a quantized program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.fx import Node

from quantize.operators import QUANTIZE, RELU


def calls(node: Any, operators: Iterable[str]) -> bool:
    """Tells whether a node calls one of the ATen operators."""
    return isinstance(node, Node) and node.op == "call_function" and str(node.target) in operators


def is_quantized(node: Any) -> bool:
    """Tells whether an argument is a quantized tensor, per tensor or per channel."""
    return isinstance(node, Node) and "quantized_decomposed.quantize_per" in str(node.target)


def is_dequantized(node: Any) -> bool:
    """Tells whether an argument is the output of a Q/DQ pair, per tensor or per channel."""
    return isinstance(node, Node) and "dequantize_per" in str(node.target)


def only_user(node: Node, operators: Iterable[str]) -> Node | None:
    """Returns the only user of a node, or None if there are several or it calls none of the operators."""
    users = list(node.users)
    return users[0] if len(users) == 1 and calls(users[0], operators) else None


def quantized_output(operator: Node) -> Node | None:
    """Returns the operator that quantizes another's output, directly or after the ReLU that kernels fuse with it."""
    return only_user(only_user(operator, RELU) or operator, (QUANTIZE,))


def scale_and_zero_point(node: Node) -> tuple[float, int]:
    """Returns the parameters of a per-tensor quantize or dequantize operator."""
    _, scale, zero_point, *_ = node.args
    assert isinstance(scale, float)
    assert isinstance(zero_point, int)
    return scale, zero_point
