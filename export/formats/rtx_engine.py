"""Engines for RTX GPUs, built ahead of time with TensorRT-RTX, which needs no GPU for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.base import Writer
from export.formats.onnx_graph import onnx_operators
from export.operators import Operator
from export.targets import Target
from quantize.recipe import ACCELERATOR
from runtimes.engine_builds import PACKAGE, build_engine
from runtimes.onnx_runtime import ONNX
from runtimes.tensorrt_engines import RTX_ENGINE

if TYPE_CHECKING:
    from export.programs import Variant

RTX = Target(
    name="rtx",
    formats=(ONNX.name, RTX_ENGINE.name),
    precisions=("fp16", "int8"),
    device="PC with an RTX GPU and TensorRT-RTX",
    recipe=ACCELERATOR,
    half=True,
    compute_capability="8.6",
    usage="""The `.engine` files were built by TensorRT-RTX without a GPU; it finishes them on the first load:

    runtime = tensorrt_rtx.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(open("{artifact}", "rb").read())

They run on compute capability 8.0, 8.6, 8.9 and 12.0. They were built from the ONNX files next to them.""",
)


class RtxEngine(Writer):
    """Compiles the ONNX file of a variant to a serialized engine, strongly typed."""

    format = RTX_ENGINE
    packages = (PACKAGE,)
    targets = (RTX,)
    made_from = ONNX.name

    def write(self, variant: Variant, path: Path) -> None:
        """Compiles ``variant.source``, a graph from uint8 ``[B, S, S, 3]``."""
        assert variant.source is not None
        engine, _ = build_engine(variant.source, variant.side)
        path.write_bytes(engine)

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the operators of the ONNX file, since an engine cannot be read back."""
        assert variant.source is not None
        return onnx_operators(variant.source)
