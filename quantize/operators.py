"""Names of operators and modules in traced programs. Standard library only."""

HEAD = "head"
"""Name of the module that computes in float32 in every graph. Its logarithms, distances and mixture are under 0.1 % of
the work; 8 bits there would cost all of the agreement, and float16 has neither their range nor their digits."""

CONVOLUTION, LINEAR = "aten.conv2d.default", "aten.linear.default"
WEIGHTED = (CONVOLUTION, LINEAR)
"""Layers: they multiply activations by weights."""

ATTENTION = "aten.scaled_dot_product_attention.default"
PRODUCTS = ("aten.matmul.default", "aten.bmm.default")
"""They multiply activations by activations, as attention does."""

BATCH_NORM = "aten.batch_norm.default"
PRELU = "aten.prelu.default"
RELU = ("aten.relu.default", "aten.relu_.default")
ADD = ("aten.add.Tensor", "aten.add_.Tensor")

QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"
