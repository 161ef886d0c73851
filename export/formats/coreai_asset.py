"""Core AI: assets for iOS 27 and later, where it follows Core ML. Experimental, like Apple's packages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.packages import Package
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from export.formats.base import Writer, refusals_of
from export.operators import Operator, weight_key
from export.targets import Target
from quantize.recipe import ACCELERATOR
from runtimes.class_names import KEY, to_text
from runtimes.coreai_runtime import AIMODEL, MAIN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch.fx import Node

    from export.programs import Variant

COREAI = Target(
    name="coreai",
    formats=(AIMODEL.name,),
    precisions=("fp32", "int8"),
    device="iPhone or iPad with iOS 27 or later (experimental)",
    recipe=ACCELERATOR,
    half=True,
    in_all=False,
    usage="""Add the `.aimodel` to the app. Core AI is in beta, and so is this target. The function `main` takes
`image`, uint8 `[1, {side}, {side}, 3]`, and returns the outputs by name:

    let model = try await AIModel(contentsOf: url)  // {artifact}
    let main = try model.loadFunction(named: "main")
    let answer = try await main.run(inputs: ["image": pixels])

In Python, on macOS and Linux, with the package `coreai-core`:

    arbex run . face.png""",
)
LAYERS = ("coreai.conv2d", "coreai.decomposable.broadcasting_batch_matmul")
"""Operations that multiply by weights if their second operand is one; linear layers are products."""

PASSING = ("coreai.cast", "coreai.pad", "coreai.reshape", "coreai.transpose")
"""Operations between a dequantized tensor and the layer that reads it."""

CONSTANT, DEQUANTIZE = "coreai.constant", "coreai.dequantize"


class CoreAiAsset(Writer):
    """Writes ``.aimodel`` folders of batch 1."""

    format = AIMODEL
    packages = (
        Package(
            module="coreai_torch",
            distribution="coreai-torch",
            purpose="writing .aimodel folders (experimental)",
            extra="coreai",
        ),
    )
    tools = ("coreai-core",)
    targets = (COREAI,)

    def write(self, variant: Variant, path: Path) -> None:
        """Writes a function from uint8 ``[1, S, S, 3]`` to the named outputs."""
        import torch

        from export.half_precision import to_half

        (coreai_torch,) = (package.load() for package in self.packages)
        program = to_half(variant.program()) if variant.half else variant.program()
        example = torch.zeros(1, variant.side, variant.side, 3, dtype=torch.uint8)
        with refusals_of("coreai-torch"), torch.no_grad():
            exported = torch.export.export(variant.with_input(program), (example,))
            exported = exported.run_decompositions(coreai_torch.get_decomp_table())
            # In its other mode, an asset contains stack traces with paths of this machine.
            converter = coreai_torch.TorchConverter(mode=coreai_torch.TorchConverter.Mode.RELEASE)
            register_lowerings(converter)
            converter.add_exported_program(
                exported, input_names=[INPUT_NAME], output_names=list(OUTPUT_NAMES), entrypoint_name=MAIN
            )
            asset = converter.to_coreai()
            number_graphs(asset)
            saved = asset.save_asset(path)
            saved.update_metadata(lambda metadata: metadata.set_custom(KEY, to_text(variant.labels)))
            settle_metadata(path)

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the operations that multiply by weights."""
        return list(operators_of(path))


def register_lowerings(converter: Any) -> None:
    """Registers the operators of Q/DQ pairs with one converter; others are not affected.

    Apple documents this for operators that a converter does not support. The module of the dialect is private, so that
    the extra pins the exact versions of both packages.
    """
    import numpy as np
    from coreai._compiler.dialects import coreai as dialect

    def per_tensor(node: Node) -> list[Any]:
        scale, zero = np.array(node.args[1], np.float32), np.array(node.args[2], np.int8)
        offset, axis = np.array(0, np.float32), np.array(0, np.int32)
        return [dialect.constant(value) for value in (scale, zero, offset, axis)]

    @converter.register_torch_lowering("quantized_decomposed::quantize_per_tensor.default")  # type: ignore[untyped-decorator]
    def quantize(values: dict[str, Any], node: Any, location: Any) -> Any:
        return dialect.quantize(values[node.args[0].name], *per_tensor(node), loc=location)

    @converter.register_torch_lowering("quantized_decomposed::dequantize_per_tensor.default")  # type: ignore[untyped-decorator]
    def dequantize(values: dict[str, Any], node: Any, location: Any) -> Any:
        return dialect.dequantize(values[node.args[0].name], *per_tensor(node), loc=location)

    @converter.register_torch_lowering("quantized_decomposed::dequantize_per_channel.default")  # type: ignore[untyped-decorator]
    def dequantize_channels(values: dict[str, Any], node: Any, location: Any) -> Any:
        source, scales, zeros = (values[argument.name] for argument in node.args[:3])
        offsets: NDArray[np.float32] = np.zeros(node.args[1].meta["val"].shape, np.float32)
        rest = [dialect.constant(value) for value in (offsets, np.array(node.args[3], np.int32))]
        return dialect.dequantize(source, scales, dialect.cast(zeros, np.int8), *rest, loc=location)


def number_graphs(program: Any) -> None:
    """Numbers the graphs that a program calls, whose names end in random letters.

    Equal models then give equal files within a process. Other processes name constants otherwise, by hashes whose seed
    is the place of Apple's library in memory.

    Args:
        program: A program of Core AI; changed in place.
    """
    from coreai._compiler.ir import SymbolTable

    module = program._module._mlir_module.operation
    for i, graph in enumerate(graphs_of(program)):
        name = graph.attributes["sym_name"].value
        if name != MAIN:
            numbered = f"{name.rpartition('_')[0]}_{i}"
            SymbolTable.replace_all_symbol_uses(name, numbered, module)
            SymbolTable.set_symbol_name(graph, numbered)


def settle_metadata(path: Path) -> None:
    """Removes the time of creation from the metadata of an asset, and sorts the rest, which has no fixed order."""
    file = path / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata.pop("creationDate", None)
    file.write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def graphs_of(program: Any) -> list[Any]:
    """Returns the graphs of a program: its function, and those that the function calls."""
    return list(program._module._mlir_module.operation.regions[0].blocks[0].operations)


def operators_of(path: Path) -> Iterator[Operator]:
    """Yields the convolutions and linear layers of an asset."""
    from coreai.authoring import AIModelAsset

    program = AIModelAsset.load(path).program  # kept, since its operations do not outlive it
    main = next(graph for graph in graphs_of(program) if graph.attributes["sym_name"].value == MAIN)
    for operation in main.regions[0].blocks[0].operations:
        if operation.operation.name in LAYERS:
            values, weight = (producer_of(operand) for operand in list(operation.operation.operands)[:2])
            if weight in (CONSTANT, DEQUANTIZE):
                shape = operation.operation.operands[1].type.shape
                yield Operator(weight_key(shape), int8=values == weight == DEQUANTIZE)


def producer_of(value: Any) -> str:
    """Returns the name of the operation that produced a value, before those that pass it on; empty for inputs."""
    while hasattr(value.owner, "operation"):
        operation = value.owner.operation
        if operation.name not in PASSING:
            return str(operation.name)
        value = operation.operands[0]
    return ""
