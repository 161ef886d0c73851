"""The operations of MIL by family. Parameters have MIL's names and defaults, and its op sets of iOS 15 to 18 in mind.

A function gets tensors, and numbers, tuples and strings where its parameters say so; it computes in float32. The plan
casts results to the types that the program declares.
"""

from importlib import import_module

from runtimes.coreml_evaluator.operations.registry import OPERATIONS

NAMES = (
    "activations",
    "arithmetic",
    "compressed",
    "control_flow",
    "convolution",
    "gathering",
    "matrices",
    "normalization",
    "pooling",
    "quantization",
    "recurrent",
    "reductions",
    "resampling",
    "resizing",
    "selection",
    "shapes",
    "slices",
)
FAMILIES = tuple(import_module(f"{__name__}.{name}") for name in NAMES)
"""Modules whose import registers their operations."""

__all__ = ["FAMILIES", "OPERATIONS"]
