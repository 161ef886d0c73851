"""Finding the first operator at which an artifact parts from its program.

Formats keep few names, so values are recognized by what they are. The program runs in PyTorch, operator by operator,
always on what the artifact computed before: whatever it has computed in the same way is found among its values, and
what stands in their place when an operator goes wrong is not. Values that a format's optimizer fused away are not found
either, but something that depends on them is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from arbex.spec import OUTPUT_NAMES
from export.recognition import TOLERANCE, Array, Candidate, Values, differing
from quantize.operators import ATTENTION, CONVOLUTION, DEQUANTIZE, HEAD, LINEAR, QUANTIZE
from runtimes.difference import Difference

FLIPPED: Final = {False: 1e-3, True: 2e-2}
"""Share of quantized values that may be rounded the other way, by one step, without and with fused kernels: a kernel
rounds a sum of whole numbers, and the program a sum of floats."""

LAYOUT: Final = (
    "aten.alias", "aten.expand", "aten.flatten", "aten.permute", "aten.reshape", "aten.slice", "aten.split_with_sizes",
    "aten.squeeze", "aten.transpose", "aten.unbind", "aten.unsqueeze", "<built-in function getitem>",
)  # fmt: skip
"""Operators that only move values; formats move them otherwise."""

ADVICE: Final = {
    "input": "Compare mean, deviation and order of the channels with the run's preprocessing.",
    CONVOLUTION: "Its weights, scales or bias in the file are not those of the program.",
    LINEAR: "Its weights, scales or bias in the file are not those of the program.",
    ATTENTION: "Its mask, its scale or the order of its heads in the file is not that of the program.",
    QUANTIZE: "A scale or zero point in the file is not that of the program.",
    DEQUANTIZE: "A scale or zero point in the file is not that of the program.",
}
"""What to look at, by kind of operator."""

AGAIN: Final = "Export again; if it stays, report it with the model."


@dataclass(frozen=True)
class Finding:
    """What an artifact may have in place of an operator's values.

    Attributes:
        expected: The operator's values, computed from what the artifact has in place of those that it reads.
        candidate: What the artifact has in their place; None if nothing has their size.
        value: The same in their layout; the expected ones without a candidate.
        changed: Share of the values that differ, in [0, 1].
    """

    expected: Array
    candidate: Candidate | None
    value: Array
    changed: float

    @classmethod
    def among(cls, values: Values, expected: Array, others: Collection[Candidate] = ()) -> Finding:
        """Finds what is closest to expected values among those of an artifact, without those known to be others."""
        candidate = values.closest(expected, others)
        if candidate is None:
            return cls(expected, None, expected, 1.0)
        value = candidate.like(expected)
        return cls(expected, candidate, value, differing(expected, value))


class Walk(Interpreter):
    """Runs a program on what an artifact computed.

    Attributes:
        values: The artifact's values.
        fused: Whether the artifact computes several operators at once, so that it lacks values between them.
        found: What was found in place of each operator's values.
        right: Operators whose values were found.
    """

    def __init__(self, program: GraphModule, values: Values, *, fused: bool) -> None:
        """Starts with nothing found."""
        super().__init__(program)
        self.values, self.fused = values, fused
        self.found: dict[Node, Finding] = {}
        self.right: set[Node] = set()

    def run_node(self, n: Node) -> Any:
        """Runs an operator, and passes on what the artifact computed in its place if that is the same."""
        result = super().run_node(n)
        if n.op not in ("placeholder", "call_function") or not is_compared(result):
            return result
        finding = self.found[n] = Finding.among(self.values, result.numpy())
        if not self.is_right(n, finding):
            return result
        self.right.add(n)
        return torch.tensor(finding.value)

    def is_right(self, node: Node, finding: Finding) -> bool:
        """Tells whether what was found is an operator's values. Quantized ones may be rounded the other way."""
        if str(node.target) != DEQUANTIZE or finding.changed == 0:
            return finding.changed == 0
        share = max(FLIPPED[self.fused], 1.5 / finding.expected.size)
        largest = float(np.abs(finding.expected - finding.value).max())
        step = node.args[1]
        assert isinstance(step, float)
        return finding.changed <= share and largest < 1.5 * step

    def culprit(self) -> Node | None:
        """Returns the first operator that went wrong; None if none did.

        Its values are not found. Where the artifact lacks values, not all that is computed from them is found either.
        """
        nodes = list(self.graph.nodes)
        good = self.passed_on(nodes) if self.fused else self.right
        wrong = (node for node in computed_from_input(nodes) if node in self.found and node not in good)
        return next((node for node in wrong if not str(node.target).startswith(LAYOUT)), None)

    def passed_on(self, nodes: Sequence[Node]) -> set[Node]:
        """Returns the operators whose values were found, or those of all that read them."""
        good: set[Node] = set()
        for node in reversed(nodes):
            if node in self.right or (node.op != "output" and all(user in good for user in node.users)):
                good.add(node)
        return good

    def replacement(self, node: Node) -> Finding:
        """Returns what the artifact has in place of the values of an operator that went wrong."""
        known = {self.found[other].candidate for other in self.right}
        others = {candidate for candidate in known if candidate is not None}
        return Finding.among(self.values, self.found[node].expected, others)


def computed_from_input(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yields the operators that compute from the program's input, and not from constants alone, in their order."""
    computed: set[Node] = set()
    for node in nodes:
        if node.op == "placeholder" or any(source in computed for source in node.all_input_nodes):
            computed.add(node)
            yield node


def is_compared(value: Any) -> bool:
    """Tells whether a value is a tensor of floats with more than one element."""
    return isinstance(value, Tensor) and value.dtype == torch.float32 and value.numel() > 1


class Replacing(Interpreter):
    """Runs a program with another value in place of an operator's own."""

    def __init__(self, program: GraphModule, replaced: Node, value: Array) -> None:
        """Takes what to replace."""
        super().__init__(program)
        self.replaced, self.value = replaced, value

    def run_node(self, n: Node) -> Any:
        """Runs an operator, or skips it."""
        return torch.tensor(self.value) if n is self.replaced else super().run_node(n)


@torch.inference_mode()
def first_difference(
    program: GraphModule, pixels: Tensor, values: Mapping[str, Array], *, fused: bool = False
) -> Difference | None:
    """Returns where an artifact parts from its program; None if all answers are the program's.

    Args:
        program: The program, with weights stored as the artifact stores them.
        pixels: Normalized image, float32 ``[1, 3, S, S]``.
        values: What the artifact computed for the same image, by name; see ``Runtime.values``.
        fused: Whether the artifact computes several operators at once, so that values between them are not there.
    """
    walk = Walk(program, Values.of(values), fused=fused)
    outputs = walk.run(pixels)
    node = walk.culprit()
    if node is None:
        return different_output(outputs, values)
    finding, share = walk.replacement(node), None
    if finding.candidate:
        alone = Replacing(program, node, finding.value).run(pixels)[0]
        share = share_of(program(pixels)[0], alone, torch.tensor(values[OUTPUT_NAMES[0]]))
    at_input = node.op == "placeholder"
    kind, module = ("input", "") if at_input else (str(node.target), module_of(node))
    return Difference(
        operator="normalization" if at_input else node.name,
        kind=kind,
        module=module,
        changed=finding.changed,
        share=share,
        advice=f"{advice_for(kind, module)} {AGAIN}".strip(),
    )


def different_output(expected: Sequence[Tensor], values: Mapping[str, Array]) -> Difference | None:
    """Returns the first output that is not what a program returns, although all that it is made from is right."""
    for name, wanted in zip(OUTPUT_NAMES, expected, strict=True):
        found = values[name].reshape(wanted.shape)
        changed = float(np.mean(np.abs(found - wanted.numpy()) > TOLERANCE))
        if changed:
            return Difference(
                operator=name,
                kind="output",
                module="",
                changed=changed,
                share=1.0 if name == OUTPUT_NAMES[0] else None,
                advice=f"The file returns something else under this name. {AGAIN}",
            )
    return None


def advice_for(kind: str, module: str) -> str:
    """Returns what to look at."""
    if module.split(".")[0] == HEAD and kind not in ADVICE:
        return "Check that the head computes in float32, with the program's parameters and order of classes."
    return ADVICE.get(kind, "")


def share_of(intact: Tensor, alone: Tensor, final: Tensor) -> float | None:
    """Returns which share of the final divergence remains if one operator alone is wrong; None if there is none.

    Args:
        intact: What the program answers [1, N].
        alone: What it answers with the artifact's values in place of one operator's.
        final: What the artifact answers.
    """
    whole = divergence(intact, final)
    return min(1.0, divergence(intact, alone) / whole) if whole > 0 else None


def divergence(expected: Tensor, found: Tensor) -> float:
    """Returns the KL divergence of two distributions in nats."""
    p, q = (x.double().clamp_min(1e-12) for x in (expected, found))
    p, q = p / p.sum(), q / q.sum()  # in float32, the sums are not quite 1
    return float((p * (p / q).log()).sum())


def module_of(node: Node) -> str:
    """Returns the path of the module that an operator belongs to, or that of what it reads; empty if there is none."""
    seen: list[Node] = [node]
    while seen:
        current = seen.pop(0)
        stack = current.meta.get("nn_module_stack")
        if stack:
            path = str(next(reversed(stack.values()))[0])
            return path.removeprefix("L['self'].")
        seen += current.all_input_nodes[:1]
    return ""
