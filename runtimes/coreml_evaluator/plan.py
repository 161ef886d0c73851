"""The plan of a program: operations bound to functions, and everything that depends on constants alone computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from arbex.errors import BackendError, UnsupportedError, reason
from runtimes.coreml_evaluator.operations import OPERATIONS
from runtimes.coreml_evaluator.operations.registry import OP_SET, Operation
from runtimes.coreml_evaluator.package_files import WeightFiles
from runtimes.coreml_evaluator.values import NumberType, Value, number_type, read_value

CONSTANT = "const"
"""Operation whose output is a value that the program holds."""

SHOWN = 8
"""Largest number of values that messages list."""


@dataclass(frozen=True)
class Declared:
    """What a program declares about a name.

    Attributes:
        name: The name.
        kind: Type of its numbers; None if it holds none.
        rounded: Whether its numbers are rounded to float16.
    """

    name: str
    kind: NumberType | None
    rounded: bool

    def cast(self, value: Any) -> Any:
        """Returns a value in the declared type."""
        if not isinstance(value, Tensor) or self.kind is None:
            return value
        return value.to(torch.float16).to(torch.float32) if self.rounded else value.to(self.kind.dtype)


@dataclass(frozen=True)
class Name:
    """A name as the source of an argument, other than a string as a constant."""

    text: str


@dataclass(frozen=True)
class Argument:
    """An argument of an operation.

    Attributes:
        parameter: Name of the parameter.
        sources: The names or constants that it consists of: one, or several where the parameter holds several.
        convert: Conversion to what the parameter declares.
    """

    parameter: str
    sources: tuple[Any, ...]
    convert: Callable[[Any], Any]

    @property
    def names(self) -> list[str]:
        """The names among the sources; a constant argument has none."""
        return [source.text for source in self.sources if isinstance(source, Name)]

    def read(self, values: Mapping[str, Value]) -> Any:
        """Returns the argument."""
        found = [values[source.text] if isinstance(source, Name) else source for source in self.sources]
        return self.convert(found[0] if len(found) == 1 else found)


@dataclass(frozen=True)
class Step:
    """An operation of a program.

    Attributes:
        operation: The operation.
        fixed: Its constant arguments, converted.
        arguments: Its other arguments.
        outputs: What it defines.
        blocks: Blocks that it runs, such as the body of a loop.
        released: Names that no later step reads.
    """

    operation: Operation
    fixed: Mapping[str, Any]
    arguments: tuple[Argument, ...]
    outputs: tuple[Declared, ...]
    blocks: tuple[Block, ...] = ()
    released: tuple[str, ...] = ()

    @property
    def reads(self) -> set[str]:
        """Names that it reads, directly or in its blocks."""
        inner = {name for block in self.blocks for name in block.reads}
        return inner.union(*(argument.names for argument in self.arguments))

    def compute(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Returns what the step defines, by name.

        Raises:
            BackendError: If the operation fails on its arguments; the cause is chained.
        """
        arguments = {**self.fixed, **{a.parameter: a.read(values) for a in self.arguments}}
        inner = {"blocks": [partial(block.run, outer=values) for block in self.blocks]} if self.blocks else {}
        try:
            result = self.operation.function(**arguments, **inner)
        except BackendError:
            raise
        except Exception as error:  # PyTorch and NumPy raise many types for arguments that do not fit
            given = ", ".join(f"{name}: {describe(value)}" for name, value in arguments.items())
            raise BackendError(
                f"The operation {self.operation.name!r}, which defines {self.outputs[0].name!r}, fails with {given}: "
                f"{reason(error)}.",
                remedy="Export the bundle again; if that does not help, check the package on an Apple device.",
            ) from error
        results = result if isinstance(result, tuple) else (result,)
        return {o.name: o.cast(v) for o, v in zip(self.outputs, results, strict=False)}


@dataclass(frozen=True)
class Block:
    """Steps, with the names that they start from and those that they result in.

    Attributes:
        inputs: What a caller passes.
        steps: The steps in order.
        outputs: Names of the results.
        constants: Results that are constants.
    """

    inputs: tuple[Declared, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Value]

    @property
    def reads(self) -> set[str]:
        """Names of the blocks around it that it reads."""
        own = {declared.name for declared in self.inputs} | set(self.constants)
        own |= {output.name for step in self.steps for output in step.outputs}
        return set(self.outputs).union(*(step.reads for step in self.steps)) - own

    def run(
        self, *given: Value, outer: Mapping[str, Value] | None = None, seen: dict[str, Value] | None = None
    ) -> list[Value]:
        """Returns the results.

        Args:
            given: A value per input.
            outer: Values of the blocks around it.
            seen: Receives all values, those of blocks inside left out.
        """
        names = (declared.name for declared in self.inputs)
        values = {**(outer or {}), **self.constants, **dict(zip(names, given, strict=True))}
        for step in self.steps:
            computed = step.compute(values)
            values.update(computed)
            if seen is not None:
                seen.update(computed)
            for name in step.released:
                del values[name]
        return [values[name] for name in self.outputs]


def describe(value: Any) -> str:
    """Returns an argument as messages show it: type and shape of a tensor, or the value itself if it is short."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"{len(value)} values" if isinstance(value, list | tuple) and len(value) > SHOWN else repr(value)


def with_releases(steps: Sequence[Step], kept: Iterable[str]) -> tuple[Step, ...]:
    """Returns the steps of a block, each with the block's names that it is the last one to read.

    Args:
        steps: The steps.
        kept: Names that are read after the last step.
    """
    later, found = set(kept), []
    defined = {output.name for step in steps for output in step.outputs}
    for step in reversed(steps):
        mentioned = step.reads | {output.name for output in step.outputs}
        found.append(replace(step, released=tuple(sorted((mentioned & defined) - later))))
        later |= mentioned
    return tuple(reversed(found))


@dataclass
class Planner:
    """Turns blocks into plans.

    Attributes:
        weights: Weight files of the package.
        op_set: Number of the iOS version whose operations the program uses.
        half: Whether values in float16 are rounded.
    """

    weights: WeightFiles
    op_set: int
    half: bool

    def block(self, block: Any, outer: Mapping[str, Value]) -> Block:
        """Returns the plan of a block.

        Args:
            block: A protocol buffer of type ``Block``.
            outer: Constants of the blocks around it.

        Raises:
            BackendError: If a constant cannot be read, or an operation fails on constants.
            UnsupportedError: If an operation, or a parameter of it, is not known.
        """
        constants, steps = dict(outer), []
        for found in block.operations:
            if found.type == CONSTANT:
                constants[found.outputs[0].name] = read_value(found.attributes["val"], self.weights)
                continue
            step = self.step(found, constants)
            if step.operation.is_constant and not step.reads and not step.blocks:
                constants.update(step.compute({}))
            else:
                steps.append(step)
        outputs = tuple(block.outputs)
        results = {name: constants[name] for name in outputs if name in constants}
        return Block(self.declare(block.inputs), with_releases(steps, outputs), outputs, results)

    def function(self, function: Any, block: Any) -> Block:
        """Returns the plan of a function, a protocol buffer of type ``Function``, whose body is a block."""
        return replace(self.block(block, {}), inputs=self.declare(function.inputs))

    def declare(self, names: Iterable[Any]) -> tuple[Declared, ...]:
        """Returns what protocol buffers of type ``NamedValueType`` declare."""
        kinds = [(found.name, number_type(found.type)) for found in names]
        return tuple(Declared(n, k, self.half and k is not None and k.name == "fp16") for n, k in kinds)

    def step(self, found: Any, constants: Mapping[str, Value]) -> Step:
        """Returns the plan of an operation, a protocol buffer of type ``Operation``."""
        known = OPERATIONS[found.type]
        arguments = [self.argument(known, name, bound, constants) for name, bound in found.inputs.items()]
        # Up to iOS 17, compressed weights are attributes and not inputs.
        arguments += [
            Argument(name, (read_value(value, self.weights),), known.conversions[name])
            for name, value in found.attributes.items()
            if name in known.conversions
        ]
        fixed = {argument.parameter: argument.read({}) for argument in arguments if not argument.names}
        if OP_SET in known.conversions:
            fixed[OP_SET] = self.op_set
        return Step(
            operation=known,
            fixed=fixed,
            arguments=tuple(argument for argument in arguments if argument.names),
            outputs=self.declare(found.outputs),
            blocks=tuple(self.block(inner, constants) for inner in found.blocks),
        )

    def argument(self, known: Operation, name: str, bound: Any, constants: Mapping[str, Value]) -> Argument:
        """Returns an argument of an operation.

        Args:
            known: The operation.
            name: Name of the parameter.
            bound: A protocol buffer of type ``Argument``.
            constants: Constants by name.
        """
        if name not in known.conversions:
            raise UnsupportedError(
                f"The operation {known.name!r} cannot be evaluated with the input {name!r}.",
                allowed=f"Allowed: {', '.join(other for other in known.conversions if other != OP_SET)}.",
                remedy="Check the package on an Apple device.",
            )
        sources = [
            read_value(binding.value, self.weights)
            if binding.WhichOneof("binding") == "value"
            else constants.get(binding.name, Name(binding.name))
            for binding in bound.arguments
        ]
        return Argument(name, tuple(sources), known.conversions[name])


def check_operations(block: Any, op_set: str) -> None:
    """Raises an error for the first operation of a block, or of a block in it, that is not in the table.

    Args:
        block: A protocol buffer of type ``Block``.
        op_set: Name of the op set, for the message.

    Raises:
        UnsupportedError: The operation, the op set and the operation's inputs are named.
    """
    for found in block.operations:
        if found.type not in OPERATIONS and found.type != CONSTANT:
            inputs = ", ".join(sorted(found.inputs)) or "none"
            raise UnsupportedError(
                f"The operation {found.type!r} of the op set {op_set} (inputs: {inputs}) cannot be evaluated.",
                allowed=f"Allowed: {len(OPERATIONS)} operations, listed in docs/explanation/coreml-on-linux.md.",
                remedy="Check the package on an Apple device.",
            )
        for inner in found.blocks:
            check_operations(inner, op_set)
