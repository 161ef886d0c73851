"""Lowering to a Core ML package, on any platform: coremltools converts on Linux, it only predicts on a Mac."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from export.onnx_graph import first_line
from runtimes.vendor_output import hidden_output

NO_OPS = ("aten.alias.default", "aten.lift_fresh_copy.default")
"""Operators that change nothing and that coremltools does not know."""


def import_coremltools() -> Any:
    """Returns coremltools without the warnings of its import.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        with hidden_output():
            import coremltools
    except ImportError as error:
        raise MissingPackageError("coremltools", "export to Core ML", extra="export") from error
    return coremltools


def drop_no_ops(program: torch.export.ExportedProgram) -> None:
    """Removes operators that only pass their input on, in place."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and str(node.target) in NO_OPS:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()


def head_operations(head_weight: Any) -> Any:
    """Returns a selector that is true for operations that may compute in float16: all before the head.

    Module names are lost by then, so the head is found by its first weight and by what follows from it.

    Args:
        head_weight: Weight of the head's first linear layer, a NumPy array.
    """
    import numpy as np

    known: dict[str, bool] = {}

    def is_head(operation: Any) -> bool:
        if operation is None or operation.op_type == "const":
            return False
        name = operation.name
        if name not in known:
            known[name] = starts_head(operation) or any(is_head(source) for source in sources(operation))
        return known[name]

    def sources(operation: Any) -> list[Any]:
        found = []
        for value in operation.inputs.values():
            for variable in value if isinstance(value, (list, tuple)) else [value]:
                found.append(variable.op)
        return found

    def starts_head(operation: Any) -> bool:
        weight = operation.inputs.get("weight")
        if operation.op_type != "linear" or weight is None or weight.val is None:
            return False
        return weight.val.shape == head_weight.shape and bool(np.array_equal(weight.val, head_weight))

    return lambda operation: not is_head(operation)


def write_coreml(deployed: nn.Module, side: int, path: Path, *, half: bool, head_weight: Any) -> None:
    """Writes an ``.mlpackage`` for iOS 17 and later.

    The input is an RGB image of ``side`` pixels, which Core ML hands to the graph as NCHW in 0..255.

    Args:
        deployed: From float32 ``[1, 3, S, S]`` in 0..255 to the three outputs.
        side: S.
        path: The package to write, a folder.
        half: Compute everything before the head in float16.
        head_weight: Weight of the head's first linear layer; the head stays in float32.

    Raises:
        MissingPackageError: If coremltools is not installed.
        BackendError: If it refuses the program; the cause is chained.
    """
    import numpy as np

    ct = import_coremltools()
    precision = ct.precision.FLOAT32
    if half:
        precision = ct.transform.FP16ComputePrecision(op_selector=head_operations(head_weight))
    try:
        with torch.no_grad():
            exported = torch.export.export(deployed, (torch.zeros(1, 3, side, side),)).run_decompositions({})
            drop_no_ops(exported)
            model = ct.convert(
                exported,
                minimum_deployment_target=ct.target.iOS17,
                inputs=[ct.ImageType(name=INPUT_NAME, shape=(1, 3, side, side), color_layout=ct.colorlayout.RGB)],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in OUTPUT_NAMES],
                compute_precision=precision,
                skip_model_load=True,
            )
            model.save(str(path))
    except Exception as error:
        raise BackendError(f"coremltools refused the program: {first_line(error)}") from error
