"""The INT8 program: what is quantized, what is not, and how close it stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchao.quantization.pt2e.quantize_pt2e as pt2e
from torch import nn
from torch.fx import GraphModule, Node

from arbex.errors import BackendError, DataError
from arbex.provenance import Recipe
from calibration import TensorRange
from export.trace import TracedModel, trace
from quantize.operators import WEIGHTED
from quantize.placement import in_head, module_path
from quantize.program import QAT_FOLDING, calibrate, quantize, without_qat_folding
from quantize.recipe import ACCELERATOR, CPU, WIDEST
from tests.programs import exported, operators_of, ranges_of, tiny_model


@pytest.fixture(scope="module")
def traced() -> TracedModel:
    return trace(tiny_model())


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def ranges(traced: TracedModel, images: torch.Tensor) -> dict[str, TensorRange]:
    return ranges_of(traced.program, images)


@pytest.fixture(scope="module")
def for_cpu(traced: TracedModel, ranges: dict[str, TensorRange]) -> GraphModule:
    return quantize(traced.program, ranges, CPU)


@pytest.fixture(scope="module")
def for_accelerator(traced: TracedModel, ranges: dict[str, TensorRange]) -> GraphModule:
    return quantize(traced.program, ranges, ACCELERATOR)


@pytest.fixture(params=["for_cpu", "for_accelerator"])
def quantized(request: pytest.FixtureRequest) -> GraphModule:
    program: GraphModule = request.getfixturevalue(request.param)
    return program


STEMS = ("encoder.image.stem.0", "encoder.landmarks.stem.0.0")
"""What stays in float: convolutions of the image itself."""


@pytest.mark.parametrize("recipe", [CPU, ACCELERATOR], ids=["cpu", "accelerator"])
def test_small_weights_keep_their_levels(recipe: Recipe) -> None:
    """A layer that learns from zero has small weights for long; eight bits are as many for them as for others."""
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 16, 1, bias=False)
    layer.weight.data = torch.empty(16, 32, 1, 1).uniform_(-1, 1) / 128
    images = torch.rand(16, 32, 6, 6)
    program = exported(layer, images[:2])
    quantized = quantize(program, ranges_of(program, images), recipe)
    with torch.no_grad():
        wanted, found = layer(images), quantized(images)
    assert float((wanted - found).std()) < 0.01 * float(wanted.std())


def is_int8(node: Node) -> bool:
    """Tells whether a tensor is a dequantized one."""
    return "dequantize" in str(node.target)


def is_quantized(node: Node) -> bool:
    """Tells whether a tensor is only read by quantize operators, perhaps after a ReLU."""
    users = list(node.users)
    if len(users) == 1 and "relu" in str(users[0].target):
        return is_quantized(users[0])
    return all(str(user.target).startswith("quantized_decomposed.quantize_per_tensor") for user in users)


def activation_quantizers(program: GraphModule) -> list[Node]:
    return [n for n in program.graph.nodes if str(n.target).startswith("quantized_decomposed.quantize_per_tensor")]


def test_convolutions_and_linears_of_the_encoder_are_quantized_and_none_of_the_head(quantized: GraphModule) -> None:
    layers = [n for n in quantized.graph.nodes if str(n.target) in WEIGHTED]
    assert len([n for n in layers if in_head(n)]) == 6
    assert len(layers) > 50
    for node in layers:
        is_float = in_head(node) or module_path(node) in STEMS
        assert all(map(is_int8, node.args[:2])) != is_float, module_path(node)


def test_on_a_cpu_convolutions_pass_int8_on(for_cpu: GraphModule) -> None:
    outputs = [n for n in for_cpu.graph.nodes if str(n.target) in WEIGHTED and not in_head(n)]
    assert len(outputs) > 50
    assert all(map(is_quantized, outputs))


def test_on_a_cpu_sums_of_backbones_are_int8_and_those_of_transformers_are_not(for_cpu: GraphModule) -> None:
    sums = [n for n in for_cpu.graph.nodes if str(n.target) == "aten.add.Tensor"]
    of_backbones = [n for n in sums if module_path(n).startswith(("encoder.image", "encoder.landmarks"))]
    assert len(of_backbones) == 6
    for node in sums:
        assert all(is_int8(n) for n in node.all_input_nodes) == (node in of_backbones), module_path(node)
        assert node not in of_backbones or is_quantized(node)


def test_adding_a_number_is_left_in_float() -> None:
    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(4, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.conv(x)
            shifted: torch.Tensor = (maps + 3.0) + maps
            return shifted

    images = torch.randn(2, 4, 8, 8)
    graph = exported(Shifted(), images)
    converted = quantize(graph, ranges_of(graph, images), WIDEST)
    sums = [n for n in converted.graph.nodes if str(n.target) == "aten.add.Tensor"]
    assert len(sums) == 2
    assert not any(map(is_quantized, sums))


def test_weights_are_stored_as_int8_where_folded(
    traced: TracedModel, ranges: dict[str, TensorRange], quantized: GraphModule
) -> None:
    stored = {k: v for k, v in quantized.named_buffers() if "frozen" in k}
    assert len(stored) > 30
    assert all(v.dtype == torch.int8 for v in stored.values())
    unfolded = quantize(traced.program, ranges, CPU, fold=False)
    assert not [k for k in dict(unfolded.named_buffers()) if "frozen" in k]


def test_an_accelerator_gets_zero_point_zero(for_accelerator: GraphModule) -> None:
    quantizers = activation_quantizers(for_accelerator)
    assert len(quantizers) > 20
    for node in quantizers:
        _, scale, zero_point, low, high, dtype = node.args
        assert isinstance(scale, float)
        assert scale > 0
        assert (zero_point, low, high, dtype) == (0, -128, 127, torch.int8)
        assert scale == float(np.float16(scale))


def test_a_cpu_gets_all_eight_bits_after_a_relu(for_cpu: GraphModule) -> None:
    after = [n for n in activation_quantizers(for_cpu) if "relu" in str(n.all_input_nodes[0].target)]
    assert len(after) > 20
    assert {(n.args[2], n.args[3], n.args[4]) for n in after} == {(-128, -128, 127)}


def batch_norms(program: GraphModule) -> list[Node]:
    return [n for n in program.graph.nodes if "batch_norm" in str(n.target)]


def test_batch_norms_of_the_encoder_are_folded(traced: TracedModel, quantized: GraphModule) -> None:
    assert len(batch_norms(traced.program)) > 30
    assert [in_head(n) for n in batch_norms(quantized)] == [True, True]


@pytest.mark.parametrize("recipe", [CPU, ACCELERATOR], ids=["cpu", "accelerator"])
def test_both_forms_answer_alike_and_close_to_float(
    traced: TracedModel, ranges: dict[str, TensorRange], images: torch.Tensor, recipe: Recipe
) -> None:
    programs = [traced.program, *(quantize(traced.program, ranges, recipe, fold=fold) for fold in (True, False))]
    with torch.no_grad():
        exact, folded, unfolded = (p(images)[0] for p in programs)
    assert (folded - unfolded).abs().max() <= 1e-6
    assert 0 < (folded - exact).abs().max() < 0.05


class Norms(torch.nn.Module):
    """Norms whose names differ in a dot and an underscore."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.norm = torch.nn.ModuleList([torch.nn.LayerNorm(8), torch.nn.LayerNorm(8)])
        self.norm_1 = torch.nn.LayerNorm(8)
        self.norm_1.weight.data *= 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.b(self.norm_1(self.norm[1](self.a(x)).sigmoid()))
        return out


def test_parameters_of_similar_names_stay_apart_in_float16() -> None:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    program = exported(Norms(), x)
    rounded = quantize(program, ranges_of(program, x), ACCELERATOR)
    with torch.no_grad():
        assert (rounded(x) - program(x)).norm() < 0.05 * program(x).norm()


def test_the_program_given_is_not_changed(traced: TracedModel, images: torch.Tensor) -> None:
    before = operators_of(traced.program)
    calibrate(traced.program, [images])
    assert operators_of(traced.program) == before


def test_ranges_cover_what_was_seen_and_give_the_scale(traced: TracedModel, ranges: dict[str, TensorRange]) -> None:
    name = next(n for n in ranges if ranges[n].low < 0)
    wide = {**ranges, name: TensorRange(-1000.0, 1000.0)}
    scales = {n.args[1] for n in activation_quantizers(quantize(traced.program, wide, ACCELERATOR))}
    assert any(s == pytest.approx(1000 / 127.5, rel=0.01) for s in scales)


@pytest.mark.parametrize("recipe", [CPU, ACCELERATOR], ids=["cpu", "accelerator"])
def test_ranges_of_another_graph_are_refused(
    traced: TracedModel, ranges: dict[str, TensorRange], recipe: Recipe
) -> None:
    fewer = {name: r for name, r in ranges.items() if name != "relu_"}
    with pytest.raises(DataError, match="another graph: 'relu_'"):
        quantize(traced.program, fewer, recipe)
    with pytest.raises(DataError, match="another graph: 'nowhere'"):
        quantize(traced.program, {**ranges, "nowhere": TensorRange(0.0, 1.0)}, recipe)


def test_images_with_nan_are_refused(traced: TracedModel, images: torch.Tensor) -> None:
    bad = images.clone()
    bad[0, 0, 0, 0] = float("inf")
    with pytest.raises(DataError, match="Calibration saw values"):
        calibrate(traced.program, [bad])


def test_the_search_for_training_time_patterns_is_skipped_and_back_afterward() -> None:
    original = getattr(pt2e, QAT_FOLDING)
    with without_qat_folding():
        assert getattr(pt2e, QAT_FOLDING) is not original
    assert getattr(pt2e, QAT_FOLDING) is original
    # convert_pt2e still calls it by that name: replacing it has an effect.
    assert QAT_FOLDING in pt2e.convert_pt2e.__code__.co_names


def test_a_torchao_without_that_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pt2e, QAT_FOLDING)
    with pytest.raises(BackendError, match=r"_fold_conv_bn_qat.*constraints\.txt"), without_qat_folding():
        pass
