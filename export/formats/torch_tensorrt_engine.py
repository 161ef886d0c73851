"""TensorRT engines, compiled with torch-tensorrt on the machine with the NVIDIA GPU that will run them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from arbex.errors import BackendError
from arbex.packages import Package
from export.formats.base import Writer, refusals_of
from export.formats.onnx_graph import JETSON, onnx_operators
from export.operators import Operator
from runtimes.onnx_runtime import ONNX
from runtimes.tensorrt_engines import TENSORRT_ENGINE

if TYPE_CHECKING:
    from export.programs import Variant


class TorchTensorRtEngine(Writer):
    """Compiles serialized engines of batch 1, bound to this machine's GPU and TensorRT version."""

    format = TENSORRT_ENGINE
    packages = (
        Package(
            module="torch_tensorrt",
            distribution="torch-tensorrt",
            purpose="arbex export --builder torch-tensorrt",
            remedy="On a machine with an NVIDIA GPU: pip install 'arbex[jetson]'",
        ),
    )
    made_from = ONNX.name
    builder = "torch-tensorrt"
    extends = JETSON.name

    def require(self) -> None:
        """Refuses to start where torch-tensorrt cannot work.

        Raises:
            BackendError: If there is no GPU.
            MissingPackageError: If torch-tensorrt is not installed.
        """
        import torch

        if not torch.cuda.is_available():
            raise BackendError(
                "The builder 'torch-tensorrt' compiles on the GPU that will run the engine, and torch sees none here.",
                remedy="Run this export on the Jetson or another machine with an NVIDIA GPU, or leave --builder out: "
                "the strongly typed ONNX in the jetson bundle is compiled on the device with trtexec.",
            )
        super().require()

    def write(self, variant: Variant, path: Path) -> None:
        """Compiles the program, from uint8 ``[1, S, S, 3]``, with its precision in the graph."""
        import torch

        from export.half_precision import to_half

        (torch_tensorrt,) = (package.load() for package in self.packages)
        program = variant.program()
        deployed = variant.with_input(to_half(program) if variant.half else program)
        example = torch.zeros(1, variant.side, variant.side, 3, dtype=torch.uint8, device="cuda")
        with refusals_of("torch-tensorrt"), torch.no_grad():
            exported = torch.export.export(copy.deepcopy(deployed).cuda(), (example,))
            engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
                exported, arg_inputs=(example,), use_explicit_typing=True
            )
        path.write_bytes(bytes(engine))

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns those of the ONNX file of the same program: an engine cannot be read back."""
        assert variant.source is not None
        return onnx_operators(variant.source)
