"""The INT8 program: what is quantised, what is not, and how close it stays."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.fx import GraphModule

from arbex.errors import DataError
from arbex.models import PRESETS, Encoder, ExpressionClassifier, ReliabilityHead
from arbex.spec import EXPRESSIONS, Preprocessing
from calibration import TensorRange
from export.trace import TracedModel, trace
from quantize.placement import belongs_to, module_path
from quantize.program import QuantizedProgram, calibrate, quantize
from quantize.recipe import INT8


@pytest.fixture(scope="module")
def traced() -> TracedModel:
    torch.manual_seed(0)
    config = PRESETS["tiny"]
    model = ExpressionClassifier(Encoder(config), ReliabilityHead(64, 7), EXPRESSIONS, Preprocessing(64)).eval()
    return trace(model)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def quantized(traced: TracedModel, images: torch.Tensor) -> QuantizedProgram:
    return quantize(traced.program, calibrate(traced.program, [images], INT8), INT8, 64)


def targets(program: GraphModule) -> Counter[str]:
    return Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function")


def test_every_convolution_and_linear_of_the_encoder_is_quantised_and_none_of_the_head(quantized: QuantizedProgram):
    for node in quantized.folded.graph.nodes:
        if str(node.target) not in INT8.operators:
            continue
        sources = {str(n.target) for n in node.args[:2]}
        is_int8 = all("dequantize" in s for s in sources)
        assert is_int8 != belongs_to(node, ("head",)), module_path(node)


def test_weights_are_stored_as_int8_where_folded(quantized: QuantizedProgram):
    stored = {k: v for k, v in quantized.folded.named_buffers() if "frozen" in k}
    assert len(stored) > 30
    assert all(v.dtype == torch.int8 for v in stored.values())
    assert not [k for k in dict(quantized.unfolded.named_buffers()) if "frozen" in k]


def test_activations_are_symmetric_with_zero_point_zero(quantized: QuantizedProgram):
    for node in quantized.folded.graph.nodes:
        if str(node.target).startswith("quantized_decomposed.quantize_per_tensor"):
            _, scale, zero_point, low, high, dtype = node.args
            assert scale > 0
            assert (zero_point, low, high, dtype) == (0, -127, 127, torch.int8)


def test_batch_norms_of_the_encoder_are_folded(quantized: QuantizedProgram):
    norms = [n for n in quantized.folded.graph.nodes if "batch_norm" in str(n.target)]
    assert {belongs_to(n, ("head",)) for n in norms} <= {True}


def test_both_forms_answer_alike_and_close_to_float(
    traced: TracedModel, quantized: QuantizedProgram, images: torch.Tensor
):
    with torch.no_grad():
        exact, folded, unfolded = (p(images)[0] for p in (traced.program, quantized.folded, quantized.unfolded))
    assert (folded - unfolded).abs().max() <= 1e-6
    assert 0 < (folded - exact).abs().max() < 0.05


def test_the_program_given_is_not_changed(traced: TracedModel, images: torch.Tensor):
    before = targets(traced.program)
    calibrate(traced.program, [images], INT8)
    assert targets(traced.program) == before


def test_ranges_cover_what_was_seen_and_give_the_scale(traced: TracedModel, images: torch.Tensor):
    ranges = calibrate(traced.program, [images], INT8)
    name = next(n for n in ranges if ranges[n].low < 0)
    wide = {**ranges, name: TensorRange(-1000.0, 1000.0)}
    program = quantize(traced.program, wide, INT8, 64).folded
    scales = {
        n.args[1] for n in program.graph.nodes if str(n.target).startswith("quantized_decomposed.quantize_per_tensor")
    }
    assert any(s == pytest.approx(1000 / 127.5, rel=0.01) for s in scales)


def test_ranges_of_another_graph_are_refused(traced: TracedModel, images: torch.Tensor):
    ranges = calibrate(traced.program, [images], INT8)
    ranges.pop(next(iter(ranges)))
    with pytest.raises(DataError, match="another graph"):
        quantize(traced.program, ranges, INT8, 64)


def test_images_with_nan_are_refused(traced: TracedModel, images: torch.Tensor):
    bad = images.clone()
    bad[0, 0, 0, 0] = float("inf")
    with pytest.raises(DataError, match="Calibration saw values"):
        calibrate(traced.program, [bad], INT8)
