"""From a traced program to an INT8 program: observers are placed, ranges applied, operators converted."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torchao.quantization.pt2e.quantize_pt2e as pt2e
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from arbex.errors import BackendError, DataError
from arbex.provenance import Recipe
from arbex.spec import digest_json
from calibration import TensorRange, TensorStatistics
from calibration.collector import Collector
from quantize.bias_correction import channel_axis, correct_biases
from quantize.clamps import remove_clamps
from quantize.editing import editable
from quantize.folding import fold_attention_masks, round_biases, spell_out_attention_masks
from quantize.half_parameters import round_parameters
from quantize.placement import Placement
from quantize.recipe import WIDEST
from quantize.rounding import is_observer
from quantize.stems import make_stems_exact

RECALIBRATE = "Calibrate again with: arbex calibrate RUN --data DATA --out FILE."


QAT_FOLDING = "_fold_conv_bn_qat"
"""Private function of torchao that ``convert_pt2e`` calls; a test checks that the pinned version still does."""


@contextmanager
def without_qat_folding() -> Iterator[None]:
    """Skips torchao's search for training-time patterns, which takes 12 seconds and never finds one here.

    Raises:
        BackendError: If torchao no longer has the function: what is skipped here must then be reviewed.
    """
    original = getattr(pt2e, QAT_FOLDING, None)
    if original is None:
        raise BackendError(
            f"torchao no longer has the function {QAT_FOLDING}, which this version of arbex replaces.",
            remedy="Install the version of torchao in constraints.txt, or a newer version of arbex.",
        )
    setattr(pt2e, QAT_FOLDING, lambda model: model)
    try:
        yield
    finally:
        setattr(pt2e, QAT_FOLDING, original)


def activation_observers(prepared: GraphModule) -> Iterator[tuple[str, Any]]:
    """Yields the observers of activations with the name of the node that they observe; weights are left out.

    Tensors that share a scale share an observer, which is yielded for each of them in the order of the graph.
    """
    for node in prepared.graph.nodes:
        if node.op != "call_module":
            continue
        observer = prepared.get_submodule(node.target)
        if is_observer(observer) and "per_tensor" in str(observer.qscheme):
            yield node.args[0].name, observer


def apply_ranges(prepared: GraphModule, ranges: Mapping[str, TensorRange]) -> None:
    """Sets the observers to the ranges of an earlier calibration; a recipe need not use all of them.

    Raises:
        DataError: If they belong to another graph.
    """
    observers = dict(activation_observers(prepared))
    odd = sorted((set(observers) - set(ranges)) | (set(ranges) - {node.name for node in prepared.graph.nodes}))
    if odd:
        raise DataError(
            f"The calibration table belongs to another graph: {odd[0]!r} is in only one of the two.", remedy=RECALIBRATE
        )
    for name, observer in reversed(observers.items()):  # so that a shared observer gets the range of its first tensor
        observer.min_val, observer.max_val = torch.tensor(ranges[name].low), torch.tensor(ranges[name].high)


class Calibrator(Interpreter):
    """Runs a prepared program and collects statistics at its observers."""

    def __init__(self, prepared: GraphModule) -> None:
        """Starts with no image seen."""
        super().__init__(prepared)
        observed = [node for node in prepared.graph.nodes if node.op == "call_module"]
        axes = {node.args[0].name: axis for node in observed if (axis := channel_axis(node)) is not None}
        self.collectors = {name: Collector(name, axes.get(name)) for name, _ in activation_observers(prepared)}
        self.images = 0

    def run_node(self, n: Node) -> Any:
        """Collects what reaches an observer and passes it on."""
        if n.op != "call_module" or not is_observer(self.fetch_attr(str(n.target))):
            return super().run_node(n)
        source = n.args[0]
        assert isinstance(source, Node)
        value = self.env[source]
        if source.name in self.collectors:
            self.collectors[source.name].add(value, self.images)
        return value

    @torch.no_grad()
    def add(self, batch: Tensor) -> None:
        """Adds a batch of images."""
        self.images = len(batch)
        self.run(batch)


def calibrate(program: GraphModule, batches: Iterable[Tensor]) -> dict[str, TensorStatistics]:
    """Returns the statistics of every activation that any recipe quantizes, over batches of images.

    Memory does not grow with the number of batches.

    Raises:
        DataError: If there is no image, or a value is not finite: the images or the model hold NaN or infinity.
    """
    calibrator = Calibrator(prepare(program, WIDEST))
    for batch in batches:
        calibrator.add(batch)
    if calibrator.images == 0:
        raise DataError("There is no image to calibrate on.", remedy="Give a data set with a validation split.")
    return {name: collector.seen for name, collector in calibrator.collectors.items() if collector.seen}


def graph_digest(program: GraphModule, equalized: Mapping[str, Sequence[int]]) -> str:
    """Identifies the operators of a program, their order and the scaling of channels, but not its weights."""
    return digest_json([program.code, equalized])


def prepare(program: GraphModule, recipe: Recipe) -> GraphModule:
    """Returns a copy of a program with batch norms folded and observers placed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copied = editable(program)
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

    Biases make up for what rounding the weights adds to every output on average (``quantize.bias_correction``). For
    recipes with quantized outputs, the float stems' weights, and the scales of their outputs, are moved by less
    than a thousandth so that their sums are exact (``quantize.stems``).

    Args:
        program: Program from normalized float32 images ``[B, 3, S, S]`` to the outputs; not changed.
        ranges: Ranges of all activations by the name of the node, as in a calibration table.
        recipe: What to quantize.
        fold: Whether to store weights as int8, or as float32 that is quantized in the graph. Both compute the same.

    Raises:
        DataError: If the ranges belong to another graph.
    """
    prepared = prepare(program, recipe)
    with torch.no_grad(), warnings.catch_warnings(), without_qat_folding():
        warnings.simplefilter("ignore")
        prepared(blank_input(prepared))  # lets the observers of weights see them
        apply_ranges(prepared, ranges)
        correct_biases(prepared, ranges)
        converted: GraphModule = pt2e.convert_pt2e(prepared, fold_quantize=fold)
        remove_clamps(converted)
        if recipe.outputs:
            make_stems_exact(converted, recipe.movements)
        round_biases(converted, recipe.operators)
        if recipe.half:
            round_parameters(converted)
        if not fold:
            spell_out_attention_masks(converted)
    return converted
