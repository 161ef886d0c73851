"""Programs that tests quantize: the export of a module, the ranges of its tensors, its operators, and a tiny model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from arbex.models import Encoder, ExpressionClassifier, ReliabilityHead
from arbex.spec import EXPRESSIONS, Preprocessing
from benchmarks.encoder_variants import POSTER
from calibration import TensorRange
from calibration.observers import observe
from quantize.program import calibrate

SMALL_POSTER = replace(POSTER, image_size=64, windows=(8, 8, 4))
"""Everything that ``base`` has, in small, with norms that fold: what preset ``tiny`` was in arbex 0.1."""


def exported(model: nn.Module, example: Tensor) -> GraphModule:
    """Returns the program of a module with one input, for batches of 1 to 64.

    Args:
        model: The module.
        example: An input of at least two samples.
    """
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(model.eval(), (example,), dynamic_shapes=({0: batch},)).module()


def ranges_of(program: GraphModule, images: Tensor) -> dict[str, TensorRange]:
    """Returns the smallest and largest value of each tensor that INT8 may round."""
    return {name: observe("minmax", seen) for name, seen in calibrate(program, [images]).items()}


def operators_of(program: GraphModule) -> Counter[str]:
    """Returns how often each operator occurs, by ATen name."""
    return Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function")


def tiny_model() -> ExpressionClassifier:
    """Returns POSTER++ in small under the reliability head, with the same random weights every time."""
    torch.manual_seed(0)
    head = ReliabilityHead(64, len(EXPRESSIONS))
    return ExpressionClassifier(Encoder(SMALL_POSTER), head, EXPRESSIONS, Preprocessing(64)).eval()
