"""Engines of TensorRT and TensorRT-RTX: bound to NVIDIA GPUs, so that nothing here runs them."""

from __future__ import annotations

from runtimes.formats import Format

RTX_ENGINE = Format(
    name="rtx-engine",
    suffix="rtx.engine",
    runner="tensorrt-rtx",
    elsewhere="An RTX engine runs on an NVIDIA RTX GPU only; the ONNX file that it was built from is checked.",
)

TENSORRT_ENGINE = Format(
    name="tensorrt-engine",
    suffix="tensorrt.engine",
    runner="tensorrt",
    elsewhere="A TensorRT engine runs on the GPU that compiled it only.",
)
