"""Programs that tests quantize: the export of a module, the ranges of its tensors, its operators, and a tiny model."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from arbex.models import PRESETS, Encoder, ExpressionClassifier, ReliabilityHead
from arbex.spec import EXPRESSIONS, Preprocessing
from calibration import TensorRange
from calibration.observers import observe
from quantize.program import calibrate


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
    """Returns preset tiny under the reliability head, with the same random weights every time."""
    torch.manual_seed(0)
    head = ReliabilityHead(64, len(EXPRESSIONS))
    return ExpressionClassifier(Encoder(PRESETS["tiny"]), head, EXPRESSIONS, Preprocessing(64)).eval()
