"""A traced program becomes an INT8 program: observe, convert."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torchao.quantization.pt2e.quantize_pt2e as pt2e
from torch import Tensor
from torch.fx import GraphModule

from arbex.errors import DataError
from calibration.table import TensorRange
from quantize.constants import fold_attention_masks, spell_out_attention_masks
from quantize.placement import Placement
from quantize.recipe import WIDEST, Recipe

AGAIN = "Calibrate again with: arbex calibrate RUN --data DATA --out FILE."


@contextmanager
def without_qat_folding() -> Iterator[None]:
    """Skips torchao's search for training-time patterns: 12 seconds that never find one here."""
    name = "_fold_conv_bn_qat"
    original = getattr(pt2e, name, None)
    if original is not None:
        setattr(pt2e, name, lambda model: model)
    try:
        yield
    finally:
        if original is not None:
            setattr(pt2e, name, original)


def activation_observers(prepared: GraphModule) -> Iterator[tuple[str, Any]]:
    """Yields the observers of activations with the name of the node that they watch; weights are left out."""
    for node in prepared.graph.nodes:
        if node.op != "call_module":
            continue
        observer = prepared.get_submodule(node.target)
        if hasattr(observer, "calculate_qparams") and "per_tensor" in str(observer.qscheme):
            yield node.args[0].name, observer


def observed_ranges(prepared: GraphModule) -> dict[str, TensorRange]:
    """Returns the range of every observed activation, by name of the node that made it.

    Raises:
        DataError: If a range is not finite: the images or the model hold NaN or infinity.
    """
    ranges = {}
    for name, observer in activation_observers(prepared):
        low, high = float(observer.min_val), float(observer.max_val)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(
                f"Calibration saw values from {low} to {high} in {name!r}.",
                remedy="Check the calibration images and the weights: neither may hold NaN or infinity.",
            )
        ranges[name] = TensorRange(low, high)
    return ranges


def apply_ranges(prepared: GraphModule, ranges: Mapping[str, TensorRange]) -> None:
    """Puts the ranges of an earlier calibration into the observers; a recipe need not use all of them.

    Raises:
        DataError: If they belong to another graph.
    """
    observers = dict(activation_observers(prepared))
    odd = sorted((set(observers) - set(ranges)) | (set(ranges) - {node.name for node in prepared.graph.nodes}))
    if odd:
        raise DataError(
            f"The calibration table belongs to another graph: {odd[0]!r} is in one of them only.", remedy=AGAIN
        )
    for name, observer in observers.items():
        observer.min_val, observer.max_val = torch.tensor(ranges[name].low), torch.tensor(ranges[name].high)


def calibrate(program: GraphModule, batches: Iterable[Tensor]) -> dict[str, TensorRange]:
    """Returns the range of every activation that any recipe quantises, over batches of images."""
    prepared = prepare(program, WIDEST)
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    return observed_ranges(prepared)


def prepare(program: GraphModule, recipe: Recipe) -> GraphModule:
    """Returns a copy of a program with batch norms folded and observers placed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied = copy.deepcopy(program)
        fold_attention_masks(copied)
        prepared: GraphModule = pt2e.prepare_pt2e(copied, Placement(recipe))
    return prepared


def blank_input(program: GraphModule) -> Tensor:
    """Returns zeros of the shape that a program takes, with batch 1."""
    placeholder = next(node for node in program.graph.nodes if node.op == "placeholder")
    return torch.zeros(1, *placeholder.meta["val"].shape[1:])


def quantize(
    program: GraphModule, ranges: Mapping[str, TensorRange], recipe: Recipe, *, fold: bool = True
) -> GraphModule:
    """Converts a program with the ranges of a calibration.

    Args:
        program: From normalised float32 images ``[B, 3, S, S]`` to the outputs; not changed.
        ranges: What ``calibrate`` returned for this program and recipe.
        recipe: What to quantise.
        fold: Store weights as int8; otherwise as float32 that is quantised in the graph. Both compute the same.

    Raises:
        DataError: If the ranges belong to another graph.
    """
    prepared = prepare(program, recipe)
    with torch.no_grad(), warnings.catch_warnings(), without_qat_folding():
        warnings.simplefilter("ignore")
        prepared(blank_input(prepared))  # lets the observers of weights see them
        apply_ranges(prepared, ranges)
        converted: GraphModule = pt2e.convert_pt2e(prepared, fold_quantize=fold)
        if not fold:
            spell_out_attention_masks(converted)
    return converted
