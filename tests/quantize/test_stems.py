"""Stems: sums that do not depend on the order of addition, and outputs that every runtime rounds alike."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.operators import CONVOLUTION, QUANTIZE
from quantize.patterns import calls, scale_and_zero_point
from quantize.program import quantize
from quantize.recipe import ACCELERATOR, CPU
from quantize.stems import GRID, LARGEST_SCALE, LARGEST_SUM, finest_grid, nearest_odd
from tests.programs import exported, ranges_of


class Stem(nn.Module):
    """A convolution of the image, and one after it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x).relu())
        return out


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).clamp(-2.6, 2.6)


@pytest.fixture(scope="module")
def graph() -> GraphModule:
    return exported(Stem(), torch.zeros(2, 3, 16, 16))


@pytest.fixture(scope="module")
def program(graph: GraphModule, images: Tensor) -> GraphModule:
    return quantize(graph, ranges_of(graph, images), CPU)


class Chain(nn.Module):
    """Convolutions one after the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 8, 8, 8, 8)
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(x, 2)
        for layer in self.layers:
            x = layer(x).relu()
        return x


def test_only_convolutions_of_the_image_are_stems(images: Tensor) -> None:
    """Not those that a gate has restored: what they read may be much smaller than the units."""
    graph = exported(Chain(), images)
    restored = replace(CPU, float_operators=("conv2d_1", "conv2d_2"))
    program = quantize(graph, ranges_of(graph, images), restored)
    exact = [name for name, _ in program.named_buffers() if name.startswith("exact_weight")]
    assert exact == ["exact_weight_conv2d"]


def test_the_grid_keeps_sums_exact_and_ties_away() -> None:
    weight, bias = torch.full((1, 3, 3, 3), 0.5), torch.tensor([1.0])
    unit = finest_grid(weight, bias, scale=1e-6)  # 27 x 0.5 x 3 + 1 = 41.5
    assert unit / 2 < 41.5 / LARGEST_SUM <= unit
    coarser = finest_grid(weight, bias, scale=1.0)
    assert coarser == 1.0 / LARGEST_SCALE


@given(st.floats(1.0, 1e6))
def test_the_nearest_odd_number(value: float) -> None:
    odd = nearest_odd(value)
    assert odd % 2 == 1
    assert abs(odd - value) <= 1


def stem_of(program: GraphModule) -> tuple[Tensor, Tensor, float, int]:
    """Returns weight, bias, scale and zero point of the first convolution."""
    node = next(n for n in program.graph.nodes if calls(n, (CONVOLUTION,)))
    weight, bias = (getattr(program, n.target).detach() for n in node.args[1:3])
    quantizer = next(n for n in program.graph.nodes if calls(n, (QUANTIZE,)))
    return weight, bias, *scale_and_zero_point(quantizer)


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_their_order(program: GraphModule, images: Tensor, random) -> None:  # type: ignore[no-untyped-def]
    weight, bias, _, _ = stem_of(program)
    counted = (images / GRID).round()
    columns = nn.functional.unfold(counted, 3, padding=1)  # [B, 27, pixels]
    order = list(range(27))
    random.shuffle(order)
    sums = bias[:, None].expand(4, -1, columns.shape[-1]).clone()
    for i in order:
        sums = sums + weight.flatten(1)[None, :, i, None] * columns[:, i][:, None]
    exact = nn.functional.conv2d(counted.double(), weight.double(), bias.double(), padding=1).flatten(2)
    assert (sums.double() == exact).all()


def test_dividing_and_multiplying_by_the_reciprocal_round_alike(program: GraphModule, images: Tensor) -> None:
    weight, bias, scale, _ = stem_of(program)
    sums = nn.functional.conv2d((images / GRID).round(), weight, bias, padding=1)
    quotients, products = sums / scale, sums * (torch.tensor(1.0) / scale)
    assert (quotients != products).any()
    assert (quotients.round() == products.round()).all()
    assert ((quotients.double() % 1 - 0.5).abs() >= 0.4 / LARGEST_SCALE).all()


def test_the_answer_moves_less_than_by_quantizing(program: GraphModule, images: Tensor) -> None:
    weight, bias, scale, _ = stem_of(program)
    moved = nn.functional.conv2d((images / GRID).round(), weight, bias, padding=1) - Stem().first(images).detach()
    assert 0 < moved.square().mean().sqrt() < 0.5 * scale / 12**0.5


def roundings(program: GraphModule) -> int:
    return sum(str(n.target) == "aten.round.default" for n in program.graph.nodes)


def test_floats_of_an_accelerator_stay_as_they_are(program: GraphModule, graph: GraphModule, images: Tensor) -> None:
    ranges = ranges_of(graph, images)
    assert roundings(program) == 1
    assert roundings(quantize(graph, ranges, ACCELERATOR)) == 0


class PooledStem(nn.Module):
    """A convolution of the image, two operators that move its values, and a convolution after them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(nn.functional.max_pool2d(self.first(x).relu(), 2)[:, :, 1:])
        return out


def test_what_moves_values_of_a_stem_keeps_their_scale(images: Tensor) -> None:
    """XNNPACK refuses a max-pool whose input and output have different scales."""
    graph = exported(PooledStem(), torch.zeros(2, 3, 16, 16))
    ranges = ranges_of(graph, images)
    narrow = {
        name: replace(seen, high=0.9 * seen.high) if "max_pool" in name else seen for name, seen in ranges.items()
    }
    program = quantize(graph, narrow, CPU)
    scales = [scale_and_zero_point(node) for node in program.graph.nodes if calls(node, (QUANTIZE,))]
    assert len(scales) == 4  # after the stem, the pool, the slice and the second convolution
    assert scales[0] == scales[1] == scales[2] != scales[3]
