"""Names of operators and modules in traced programs. Standard library only."""

HEAD = "head"
"""Name of the module that computes in float32 in every graph. Its logarithms, distances and mixture are under 0.1 % of
the work; 8 bits there would cost all of the agreement, and float16 lacks the range and the precision."""

CONVOLUTION, LINEAR = "aten.conv2d.default", "aten.linear.default"
WEIGHTED = (CONVOLUTION, LINEAR)
"""Layers, which multiply activations by weights."""

TRANSPOSED, SEQUENTIAL = "aten.conv_transpose2d.input", "aten.conv1d.default"
UNROUNDED = (TRANSPOSED, SEQUENTIAL)
"""Layers that no recipe rounds."""

ATTENTION = "aten.scaled_dot_product_attention.default"
PRODUCTS = ("aten.matmul.default", "aten.bmm.default")
"""Products of two activations, such as those of attention."""

BATCH_NORM = "aten.batch_norm.default"
PRELU = "aten.prelu.default"
RELU = ("aten.relu.default", "aten.relu_.default")
RELU6 = ("aten.relu6.default", "aten.relu6_.default", "aten.hardtanh.default", "aten.hardtanh_.default")
FUSED = (*RELU, *RELU6)
"""Activation functions after which the output of a layer is rounded, instead of before."""

ADD = ("aten.add.Tensor", "aten.add_.Tensor")

QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"
