"""Engines of TensorRT and TensorRT-RTX, which run only on NVIDIA GPUs; arbex has no runtime for them."""

from __future__ import annotations

from runtimes.formats import Format

RTX_ENGINE = Format(
    name="rtx-engine",
    suffix="rtx.engine",
    runner="tensorrt-rtx",
    elsewhere="An RTX engine runs only on an NVIDIA RTX GPU; the ONNX file that it was built from is checked instead.",
)

TENSORRT_ENGINE = Format(
    name="tensorrt-engine",
    suffix="tensorrt.engine",
    runner="tensorrt",
    elsewhere="A TensorRT engine runs only on the GPU that compiled it.",
)
