"""LiteRT (TFLite) for Android phones and ARM boards: float32, float16 weights, or int8 kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from arbex.packages import Package
from arbex.spec import INPUT_NAME
from export.formats.base import Writer, refusals_of
from export.operators import Operator, weight_key
from export.targets import Target
from quantize.recipe import CPU
from runtimes.class_names import append_labels
from runtimes.litert_runtime import TFLITE

if TYPE_CHECKING:
    from export.programs import Variant

ANDROID = Target(
    name="android",
    formats=(TFLITE.name,),
    precisions=("fp32", "int8"),
    device="Android phone or ARM board with LiteRT",
    recipe=CPU,
    usage="""With LiteRT (`com.google.ai.edge.litert`), or on a board with Python:

    from ai_edge_litert.interpreter import Interpreter
    signature = Interpreter("{artifact}").get_signature_runner()
    answer = signature(image=pixels)  # uint8 [1, {side}, {side}, 3]
    print(answer["corrected"])""",
)

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class LiteRtModel(Writer):
    """Writes ``.tflite`` files of batch 1."""

    format = TFLITE
    packages = (
        Package(module="litert_torch", distribution="litert-torch", purpose="writing .tflite files", extra="export"),
    )
    tools = ("litert-converter", "ai-edge-quantizer")
    targets = (ANDROID,)

    def write(self, variant: Variant, path: Path) -> None:
        """Writes a model with a signature from uint8 ``[1, S, S, 3]`` to the named outputs."""
        import torch

        from export.rewrites import (
            add_concatenated_parameters,
            concatenate_negatives,
            convolve_averages,
            keep_in_float,
            separate_rounded_copies,
            spell_out_prelus,
        )
        from export.trace import NamedOutputs

        (litert_torch,) = (package.load() for package in self.packages)
        program = variant.program(folded=False)
        if variant.is_int8:
            for rewrite in (
                separate_rounded_copies,
                add_concatenated_parameters,
                concatenate_negatives,
                keep_in_float,
                convolve_averages,
            ):
                program = rewrite(program)
        deployed = NamedOutputs(variant.with_input(spell_out_prelus(program)))
        example = torch.zeros(1, variant.side, variant.side, 3, dtype=torch.uint8)
        with refusals_of("litert-torch"), torch.no_grad():
            config = static_quantization() if variant.is_int8 else None
            model = litert_torch.convert(deployed, sample_kwargs={INPUT_NAME: example}, quant_config=config)
            model.export(str(path))
            if variant.half:
                halve_weights(path)
        append_labels(path, variant.labels)

    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the layers, with the types of their outputs."""
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        without_delegates = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(str(path), experimental_op_resolver_type=without_delegates)
        interpreter.allocate_tensors()
        tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
        return [
            Operator(weight_key(tensors[op["inputs"][1]]["shape"]), tensors[op["outputs"][0]]["dtype"] == np.int8)
            for op in interpreter._get_ops_details()  # private, but needs no schema
            if op["op_name"] in LAYERS
        ]


def static_quantization() -> Any:
    """Returns the setting with which the converter keeps Q/DQ pairs as static int8, with the program's own scales."""
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
