"""Engines for RTX GPUs, built ahead of time with TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.errors import BackendError
from arbex.packages import Package
from arbex.spec import INPUT_NAME
from export.formats.base import Writer
from export.formats.onnx_graph import onnx_operators
from export.operators import Operator
from export.targets import Target
from quantize.recipe import ACCELERATOR
from runtimes.onnx_runtime import ONNX
from runtimes.tensorrt_engines import RTX_ENGINE

if TYPE_CHECKING:
    from export.programs import Variant

COMPUTE_CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")
"""Ampere, Ada and Blackwell. For Turing (SM75), TensorRT-RTX lacks the float32 matrix product that the head needs."""

REMEDY = "Change the operators that it names, or leave the target rtx out."

BATCHES = (1, 1, 8)
"""Smallest, usual and largest batch of the engine."""

RTX = Target(
    name="rtx",
    formats=(ONNX.name, RTX_ENGINE.name),
    precisions=("fp16", "int8"),
    device="PC with an RTX GPU and TensorRT-RTX",
    recipe=ACCELERATOR,
    half=True,
    usage="""The `.engine` files were built by TensorRT-RTX without a GPU; it finishes them on the first load:

    runtime = tensorrt_rtx.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(open("{artifact}", "rb").read())

They run on compute capability 8.0, 8.6, 8.9 and 12.0. They were built from the ONNX files next to them.""",
)


class RtxEngine(Writer):
    """Compiles the ONNX file of a variant to a serialized engine, strongly typed."""

    format = RTX_ENGINE
    packages = (
        Package(
            module="tensorrt_rtx",
            distribution="tensorrt-rtx-cu13",
            purpose="building engines for RTX GPUs, without one",
            extra="rtx",
        ),
    )
    targets = (RTX,)
    made_from = ONNX.name

    def write(self, variant: Variant, path: Path) -> None:
        """Compiles ``variant.source``, a graph from uint8 ``[B, S, S, 3]``."""
        (trt,) = (package.load() for package in self.packages)
        assert variant.source is not None
        path.write_bytes(build_engine(trt, variant.source, variant.side))

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the operators of the ONNX file, since an engine cannot be read back."""
        assert variant.source is not None
        return onnx_operators(variant.source)


def make_log(trt: Any) -> Any:
    """Returns a logger for TensorRT that collects the compiler's errors in ``errors``."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: object, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


def build_engine(trt: Any, onnx_file: Path, side: int) -> bytes:
    """Returns the serialized engine of an ONNX file.

    Args:
        trt: The package ``tensorrt_rtx``.
        onnx_file: A graph from uint8 ``[B, S, S, 3]``.
        side: S.

    Raises:
        BackendError: If TensorRT-RTX cannot parse or build the graph; the reasons are in the message.
    """
    log = make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx_file.read_bytes()):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise BackendError(f"TensorRT-RTX cannot read {onnx_file.name}: {reasons.rstrip('.')}.", remedy=REMEDY)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *((batch, side, side, 3) for batch in BATCHES))
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = len(COMPUTE_CAPABILITIES)
    for i, name in enumerate(COMPUTE_CAPABILITIES):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), i)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        reasons = "; ".join(log.errors) or "no reason given"
        raise BackendError(f"TensorRT-RTX cannot build {onnx_file.name}: {reasons.rstrip('.')}.", remedy=REMEDY)
    return bytes(memoryview(engine))
