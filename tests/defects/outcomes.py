"""What golden vectors make of each defect in each file, and the table of it in docs/verification.md::

python -m tests.defects.outcomes
"""

from __future__ import annotations

from typing import Final

from tests.defects import coreml_defects, executorch_defects, litert_defects, onnx_defects, stored_tensors

FOUND, NO_PLACE, NO_EFFECT, NOT_FOUND = "found", "no place", "no effect", "**not found**"

ONNX_FILES: Final = ("cpu/fp32", "cpu/int8", "jetson/fp16", "jetson/int8")
"""Targets and precisions. Files for the Jetson and the iPhone compute in float16 wherever they do not in integers."""

ALTERED: Final = {"android": "a position bias shifted", "coreai": "an anchor lost"}
"""The defect of a tensor that a converter stores in a form of its own, by target."""


def in_stored_tensors(target: str) -> tuple[str, ...]:
    """Returns the defects of stored tensors that can be put into a target's file."""
    return tuple(name for name in stored_tensors.DEFECTS if name != ALTERED.get(target))


DEFECTS: Final = {
    **{file: tuple(onnx_defects.DEFECTS) for file in ONNX_FILES},
    "android/int8": (*in_stored_tensors("android"), *litert_defects.DEFECTS),
    "executorch/int8": (*in_stored_tensors("executorch"), *executorch_defects.DEFECTS),
    "iphone/int8": tuple(dict.fromkeys((*in_stored_tensors("iphone"), *coreml_defects.DEFECTS))),
    "coreai/int8": in_stored_tensors("coreai"),
}
"""Defects by file."""

EXCEPTIONS: Final = {
    ("cpu/fp32", "a zero point off by one"): NO_PLACE,
    ("jetson/fp16", "a zero point off by one"): NO_PLACE,
    # The zero point of the next quantization cuts off whatever is below zero.
    ("cpu/int8", "an activation replaced"): NO_EFFECT,
    # Writer and readers of a value share its zero point, so that only what is cut off at the ends of 8 bits changes.
    ("android/int8", "a zero point off by one"): NOT_FOUND,
    # These files are compared with everything in float32, the head included.
    ("jetson/fp16", "head in float16"): NOT_FOUND,
    ("jetson/int8", "head in float16"): NOT_FOUND,
    ("iphone/int8", "head in float16"): NOT_FOUND,
}
"""Outcomes other than ``FOUND``."""


def outcome(file: str, name: str) -> str:
    """Returns what is made of a defect in a file; empty if it is not put into such a file."""
    return EXCEPTIONS.get((file, name), FOUND) if name in DEFECTS[file] else ""


def table() -> str:
    """Returns the outcomes as a table in Markdown, a row per defect."""
    names = dict.fromkeys(name for known in DEFECTS.values() for name in known)
    rows = [["defect", *(f"`{file}`" for file in DEFECTS)], ["---"] * (1 + len(DEFECTS))]
    rows += [[name, *(outcome(file, name) for file in DEFECTS)] for name in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def counts() -> dict[str, int]:
    """Returns how many pairs of a defect and a file have each outcome."""
    found = [outcome(file, name) for file, names in DEFECTS.items() for name in names]
    return {kind: found.count(kind) for kind in (FOUND, NO_PLACE, NO_EFFECT, NOT_FOUND)}


if __name__ == "__main__":
    print(table())
    print(counts())
