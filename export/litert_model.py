"""Lowering to LiteRT (TFLite): float32, float16 weights, or real int8 kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES
from export.onnx_graph import first_line


class Named(nn.Module):
    """Returns the outputs by name, which become the names of the signature."""

    def __init__(self, deployed: nn.Module) -> None:
        """Wraps a deployed program."""
        super().__init__()
        self.deployed = deployed
        self.training = False

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps uint8 ``[1, S, S, 3]`` to the named outputs."""
        return dict(zip(OUTPUT_NAMES, self.deployed(image), strict=True))


def static_quantization() -> Any:
    """Returns the setting that makes the converter keep Q/DQ as static int8; the scales are the program's own."""
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
    return QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(config))


def halve_weights(path: Path) -> None:
    """Stores the weights of a float32 model as float16, in place; kernels compute in what the device prefers."""
    from ai_edge_quantizer import qtyping, quantizer

    quantize = quantizer.Quantizer(str(path))
    quantize.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
        ),
        algorithm_key="float_casting",
    )
    path.write_bytes(bytes(quantize.quantize().quantized_model))


def write_litert(deployed: nn.Module, side: int, path: Path, *, half: bool = False, quantized: bool = False) -> None:
    """Writes a ``.tflite`` file with batch 1.

    Args:
        deployed: From uint8 ``[1, S, S, 3]`` to the three outputs; for ``quantized``, with unfolded weights.
        side: S.
        path: The file to write.
        half: Store weights as float16.
        quantized: The program holds Q/DQ pairs.

    Raises:
        MissingPackageError: If litert-torch is not installed.
        BackendError: If it refuses the program; the cause is chained.
    """
    try:
        import litert_torch
    except ImportError as error:
        raise MissingPackageError("litert_torch", "export to LiteRT", extra="export") from error
    example = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    try:
        with torch.no_grad():
            config = static_quantization() if quantized else None
            model = litert_torch.convert(Named(deployed), sample_kwargs={INPUT_NAME: example}, quant_config=config)
            model.export(str(path))
            if half:
                halve_weights(path)
    except Exception as error:
        raise BackendError(f"litert-torch refused the program: {first_line(error)}") from error
