"""ExecuTorch, PyTorch's own runtime for Android and iOS: float32 or int8 through XNNPACK."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.packages import Package
from arbex.spec import OUTPUT_NAMES
from export.formats.base import Writer, refusals_of
from export.operators import Operator, weight_key
from export.targets import Target
from quantize.recipe import CPU
from runtimes.class_names import KEY as LABELS_METHOD
from runtimes.class_names import to_text
from runtimes.executorch_runtime import NAMES_METHOD, PTE

if TYPE_CHECKING:
    from export.programs import Variant

EXECUTORCH = Target(
    name="executorch",
    formats=(PTE.name,),
    precisions=("fp32", "int8"),
    device="phone or ARM board with ExecuTorch and XNNPACK",
    recipe=CPU,
    in_all=False,
    usage="""With the ExecuTorch runtime of version 1.5 or later and its XNNPACK backend. The method `forward` takes
uint8 `[1, {side}, {side}, 3]` and returns `corrected`, `primary` and `confidence`, in this order. On Android:

    val module = Module.load("{artifact}")
    val pixels = Tensor.fromBlobUnsigned(bytes, longArrayOf(1, {side}, {side}, 3))
    val corrected = module.forward(EValue.from(pixels))[0].toTensor().dataAsFloatArray

On iOS:

    let module = Module(filePath: "{artifact}")
    let image = Tensor<UInt8>(pixels, shape: [1, {side}, {side}, 3])
    let corrected: Tensor<Float> = try module.forward(image)[0].tensor()!

In Python, with the package `executorch`:

    arbex run . face.png""",
)

LAYERS = ("XNNConv2d", "XNNDepthwiseConv2d", "XNNFullyConnected")
"""Nodes of XNNPACK's graph that multiply by weights."""

INTEGERS = ("xnn_datatype_qint8", "xnn_datatype_quint8")


class ExecuTorchProgram(Writer):
    """Writes ``.pte`` files of batch 1 for XNNPACK."""

    format = PTE
    packages = (
        Package(module="executorch", distribution="executorch", purpose="writing .pte files", extra="executorch"),
    )
    targets = (EXECUTORCH,)

    def write(self, variant: Variant, path: Path) -> None:
        """Writes a program whose method ``forward`` maps uint8 ``[1, S, S, 3]`` to the three outputs, in order."""
        import torch

        from export.xnnpack_rewrites import REWRITES, trace_one

        (package,) = self.packages
        with logging_unchanged():
            exir = package.load("exir")
            partitioner = package.load("backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
        example = torch.zeros(1, variant.side, variant.side, 3, dtype=torch.uint8)
        with refusals_of("ExecuTorch"), torch.no_grad():
            program = trace_one(variant.with_input(variant.program()), variant.side)
            for rewrite in REWRITES:
                program = rewrite(program)
            lowered = exir.to_edge_transform_and_lower(
                torch.export.export(program, (example,)),
                partitioner=[partitioner()],
                constant_methods={NAMES_METHOD: ",".join(OUTPUT_NAMES), LABELS_METHOD: to_text(variant.labels)},
            )
            path.write_bytes(lowered.to_executorch().buffer)

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the layers of the graphs that XNNPACK runs, with the types of their inputs."""
        return [operator for graph in read_graphs(path) for operator in layers_of(graph)]


@contextmanager
def logging_unchanged() -> Iterator[None]:
    """Undoes what an import changes in the process's logging: XNNPACK's partitioner calls ``basicConfig``."""
    before = list(logging.root.handlers)
    try:
        yield
    finally:
        logging.root.handlers[:] = before


def read_graphs(path: Path) -> list[dict[str, Any]]:
    """Returns the graphs that a file passes to XNNPACK, in the order of its delegates.

    ExecuTorch can read its own container back. For XNNPACK's graphs it has only the schema, and the compiler of
    FlatBuffers, which converts them to JSON.
    """
    with logging_unchanged():
        from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader, _get_schema_bytes
        from executorch.exir._serialize import _deserialize_pte_binary
        from executorch.exir._serialize._flatbuffer import _get_flatc_path

    program = _deserialize_pte_binary(path.read_bytes()).program
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    graphs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "schema.fbs").write_bytes(_get_schema_bytes())
        for delegate in plan.delegates:
            blob = program.backend_delegate_data[delegate.processed.index].data
            header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
            end = header.flatbuffer_offset + header.flatbuffer_size
            (folder / "graph.bin").write_bytes(blob[header.flatbuffer_offset : end])
            options = ("--json", "--strict-json", "--raw-binary", "--defaults-json", "-o", name)
            command = [_get_flatc_path(), *options, str(folder / "schema.fbs"), "--", str(folder / "graph.bin")]
            subprocess.run(command, check=True, capture_output=True)
            text = (folder / "graph.json").read_text()
            graphs.append(json.loads(re.sub(r"(:\s*-?)inf\b", r"\1Infinity", text)))  # infinite bounds of outputs
    return graphs


def layers_of(graph: dict[str, Any]) -> Iterator[Operator]:
    """Yields the convolutions and linear layers of one of XNNPACK's graphs."""
    values = {}
    for value in graph["xvalues"]:
        held = value["xvalue_union"]
        tensor = held.get("tensor_value", held)  # a quantized value wraps the plain one
        values[tensor["id_out"]] = tensor
    for node in graph["xnodes"]:
        if node["xnode_union_type"] in LAYERS:
            layer = node["xnode_union"]
            weight = values[layer["filter_id"]]
            yield Operator(weight_key(weight["dims"]), values[layer["input1_id"]]["datatype"] in INTEGERS)
