"""The INT8 recipes of this toolkit, for CPUs and for accelerators."""

from __future__ import annotations

from arbex.provenance import Recipe
from quantize.operators import ADD, ATTENTION, FUSED, WEIGHTED

CPU = Recipe(
    name="int8-w8a8-cpu",
    operators=WEIGHTED,
    # XNNPACK and MLAS have an integer kernel where inputs, weights and output are quantized; with a float output they
    # compute in float. Chains of convolutions stay in int8 through their residual additions. Those of a transformer
    # stay in float, since no quantized tensor leads into them.
    outputs=WEIGHTED,
    # A stem has 27 products per output: too few to gain from an integer kernel, and its input is where rounding hurts.
    min_channels=4,
    fused=FUSED,
    additions=ADD,
    movements=("aten.slice.Tensor", "aten.max_pool2d.default"),
    biases=(ATTENTION,),
    activation="per_tensor_affine",
)
"""For runtimes on CPUs: ONNX Runtime, LiteRT and others with XNNPACK's kernels."""

ACCELERATOR = Recipe(
    name="int8-w8a8-accelerator",
    operators=WEIGHTED,
    # Rounding the image itself to 7 bits and a sign would make half of the whole error.
    min_channels=4,
    fused=FUSED,
    biases=(ATTENTION,),
    half=True,
)
"""For TensorRT, which fuses across a float output itself and wants zero point 0, and for Core ML."""

WIDEST = CPU
"""Quantizes every tensor that any other recipe does: what calibration observes."""

FLOAT = Recipe(name="float32", fused=FUSED)
"""Quantizes nothing: a program is only folded."""
