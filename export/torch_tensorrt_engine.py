"""Compiling with torch-tensorrt on a machine that has an NVIDIA GPU."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from arbex.errors import BackendError, MissingPackageError
from export.onnx_graph import first_line


def require_gpu() -> None:
    """Refuses to start where torch-tensorrt cannot work.

    Raises:
        MissingPackageError: If torch-tensorrt is not installed.
        BackendError: If there is no GPU.
    """
    if not torch.cuda.is_available():
        raise BackendError(
            "The builder 'torch-tensorrt' compiles on the GPU that will run the engine, and torch sees none here.",
            remedy="Run this export on the Jetson or another machine with an NVIDIA GPU, or leave --builder out: the "
            "strongly typed ONNX in the jetson bundle is compiled on the device with trtexec.",
        )
    try:
        import torch_tensorrt  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("torch_tensorrt", "the builder 'torch-tensorrt'", extra="jetson") from error


def write_torch_tensorrt(deployed: nn.Module, side: int, path: Path) -> None:
    """Writes a serialized TensorRT engine of batch 1, bound to this machine's GPU and TensorRT version.

    Args:
        deployed: From uint8 ``[1, S, S, 3]`` to the three outputs, with its precision in the graph.
        side: S.
        path: The engine to write.

    Raises:
        MissingPackageError, BackendError: If torch-tensorrt or the GPU is missing or refuses.
    """
    require_gpu()
    import torch_tensorrt

    example = torch.zeros(1, side, side, 3, dtype=torch.uint8, device="cuda")
    try:
        with torch.no_grad():
            exported = torch.export.export(copy.deepcopy(deployed).cuda(), (example,))
            engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
                exported, arg_inputs=(example,), use_explicit_typing=True
            )
    except Exception as error:
        raise BackendError(f"torch-tensorrt refused the program: {first_line(error)}") from error
    path.write_bytes(bytes(engine))
