"""Defects of ExecuTorch programs: the list of outputs, which is changed where it is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from executorch.exir._serialize import _deserialize_pte_binary

from runtimes.executorch_runtime import FORWARD
from tests.defects.registry import Registry

Outputs: TypeAlias = tuple[int, int, int]
"""Numbers of the values that are corrected, primary and confidence."""

DEFECTS: Registry[Callable[[Outputs], Outputs]] = Registry()
"""Defects by name."""


@DEFECTS.register
def corrected_is_primary(outputs: Outputs) -> Outputs:
    return outputs[1], outputs[1], outputs[2]


@DEFECTS.register
def primary_is_corrected(outputs: Outputs) -> Outputs:
    return outputs[0], outputs[0], outputs[2]


@DEFECTS.register
def corrected_and_primary_swapped(outputs: Outputs) -> Outputs:
    return outputs[1], outputs[0], outputs[2]


def packed(outputs: Outputs) -> bytes:
    """Returns outputs as a vector of a FlatBuffer."""
    return struct.pack("<I3i", 3, *outputs)


def inject(path: Path, name: str) -> bool:
    """Puts a defect into a file, in place; returns False if it has no place for it."""
    content = path.read_bytes()
    plans = _deserialize_pte_binary(content).program.execution_plan
    corrected, primary, confidence = next(plan.outputs for plan in plans if plan.name == FORWARD)
    outputs = (corrected, primary, confidence)
    if content.count(packed(outputs)) != 1:
        return False
    path.write_bytes(content.replace(packed(outputs), packed(DEFECTS[name](outputs))))
    return True
