"""Rewrites for runtimes: they change no number and leave the operators that the runtimes are fast at."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from export.rewrites import (
    add_concatenated_parameters,
    concatenate_negatives,
    convolve_averages,
    flatten_linear_layers,
    keep_in_float,
    separate_rounded_copies,
    spell_out_prelus,
)
from quantize.operators import LINEAR
from quantize.patterns import calls
from quantize.program import quantize
from quantize.recipe import CPU
from tests.programs import exported, operators_of, ranges_of


class Mixer(nn.Module):
    """A norm that a shortcut reads in float and a linear layer in int8, after an average of quantized maps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.mix, self.out = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(self.maps(x), 2)  # [B, 8, 4, 4]
        tokens = self.norm(pooled.flatten(2).transpose(1, 2))  # [B, 16, 8]
        mixed: Tensor = self.out(tokens + self.mix(tokens.reshape(-1, 4, 4, 8)).reshape(-1, 16, 8))
        return mixed


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def programs(images: Tensor) -> dict[bool, GraphModule]:
    """INT8 programs by whether their weights are folded."""
    graph = exported(Mixer(), images)
    ranges = ranges_of(graph, images)
    return {fold: quantize(graph, ranges, CPU, fold=fold) for fold in (True, False)}


class Tokens(nn.Module):
    """A class token that is much smaller than the patches that it stands before."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.out = nn.Conv2d(4, 8, 2, stride=2), nn.Linear(8, 4)
        self.token = nn.Parameter(0.01 * torch.randn(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)  # [B, 16, 8]
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1)
        answers: Tensor = self.out(F.layer_norm(tokens, (8,)))
        return answers


def test_parameters_are_added_and_not_concatenated_with_rounded_values(images: Tensor) -> None:
    graph = exported(Tokens(), images)
    program = quantize(graph, ranges_of(graph, images), CPU, fold=False)
    apart = add_concatenated_parameters(program)
    assert "aten.cat.default" in operators_of(program)
    assert "aten.cat.default" not in operators_of(apart)
    assert torch.equal(answers(apart, images), answers(program, images))
    assert torch.equal(answers(apart, images[:1]), answers(program, images[:1]))


def test_what_is_concatenated_in_float_stays(images: Tensor) -> None:
    graph = exported(Tokens(), images)
    assert "aten.cat.default" in operators_of(add_concatenated_parameters(graph))


def test_only_float_layers_on_rounded_values_see_negatives(images: Tensor) -> None:
    torch.manual_seed(0)
    widths = (4, 16, 16, 16, 8)
    graph = exported(nn.Sequential(*(nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise(widths))), images)
    ranges = ranges_of(graph, images)
    rounded = quantize(graph, ranges, CPU, fold=False)
    assert operators_of(keep_in_float(rounded)) == operators_of(rounded)
    restored = quantize(graph, ranges, replace(CPU, float_operators=("conv2d_2",)), fold=False)
    kept = keep_in_float(restored)
    assert operators_of(kept) - operators_of(restored) == {"aten.rsub.Scalar": 1}
    assert torch.equal(answers(kept, images), answers(restored, images))


def answers(program: GraphModule, images: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = program(images)
    return out


@pytest.mark.parametrize(
    ("rewrite", "fold"),
    [(flatten_linear_layers, True), (convolve_averages, False), (separate_rounded_copies, False)],
)
def test_no_number_changes_and_the_original_stays(rewrite, fold, programs, images) -> None:  # type: ignore[no-untyped-def]
    before = operators_of(programs[fold])
    rewritten = rewrite(programs[fold])
    assert operators_of(rewritten) != before == operators_of(programs[fold])
    for batch in (images, images[:1]):
        torch.testing.assert_close(answers(rewritten, batch), answers(programs[fold], batch), rtol=0, atol=1e-6)


def test_linear_layers_see_matrices(programs: dict[bool, GraphModule]) -> None:
    flat = flatten_linear_layers(programs[True])
    layers = [n for n in flat.graph.nodes if calls(n, (LINEAR,))]
    assert len(layers) == 2
    for node in layers:
        rows = node.args[0].args[0]
        assert calls(rows, ("aten.reshape.default",))
        assert rows.args[1] == [-1, 8]


def test_averages_are_convolutions(programs: dict[bool, GraphModule]) -> None:
    counts = operators_of(convolve_averages(programs[False]))
    assert counts["aten.avg_pool2d.default"] == 0
    assert counts["aten.conv2d.default"] == 2


class Branches(nn.Module):
    """Two branches that are concatenated, with values of very different sizes."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.small, self.large = (nn.Conv2d(n, 8, 3, padding=1) for n in (4, 8, 8))
        self.large.weight.data *= size

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        return torch.cat([self.small(y).relu(), self.large(y).relu()], 1).mean((2, 3))


def test_parts_of_different_scales_are_concatenated_as_negatives(images: Tensor) -> None:
    graph = exported(Branches(30), images)
    program = quantize(graph, ranges_of(graph, images), CPU, fold=False)
    negated = concatenate_negatives(program)
    assert operators_of(negated) - operators_of(program) == {"aten.rsub.Scalar": 3}
    assert torch.equal(answers(negated, images), answers(program, images))


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, 1, 1),
        nn.AvgPool2d(3, 2),
        nn.AvgPool2d((2, 3), 2, (0, 1), count_include_pad=False),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(2, divisor_override=3),
    ],
    ids=["overlapping", "stride", "without padding", "ceil", "ceil without padding", "divisor"],
)
def test_averages_of_every_kind(pool: nn.Module, images: Tensor) -> None:
    program = exported(pool, images)
    rewritten = convolve_averages(program)
    assert "aten.avg_pool2d.default" not in operators_of(rewritten)
    assert torch.allclose(answers(rewritten, images), answers(program, images), atol=1e-6)


class Twice(nn.Module):
    """A convolution that is used twice, each time on what a shortcut reads in float."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.shared = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.first(x))
        z = F.gelu(self.shared(y)) + y
        answer: Tensor = F.gelu(self.shared(z)) + z
        return answer


def test_weights_that_two_layers_share_are_halved_once(images: Tensor) -> None:
    graph = exported(Twice(), images)
    program = quantize(graph, ranges_of(graph, images), CPU, fold=False)
    apart = separate_rounded_copies(program)
    assert operators_of(apart)["aten.mul.Tensor"] - operators_of(program)["aten.mul.Tensor"] == 2
    assert torch.equal(answers(apart, images), answers(program, images))


class TokensFirst(nn.Module):
    """Linear layers on tokens with the batch in the second dimension, ``[L, B, C]``, as old transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.first, self.second = nn.Conv2d(4, 8, 2, stride=2), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).relu().flatten(2).permute(2, 0, 1)
        answer: Tensor = self.second(self.first(tokens).relu())
        return answer


def test_the_batch_may_be_in_any_dimension(images: Tensor) -> None:
    graph = exported(TokensFirst(), images)
    program = quantize(graph, ranges_of(graph, images), CPU)
    flat = flatten_linear_layers(program)
    assert operators_of(flat) != operators_of(program)
    assert torch.equal(answers(flat, images), answers(program, images))
    assert torch.equal(answers(flat, images[:3]), answers(program, images[:3]))


def test_only_what_is_read_in_both_ways_gets_a_copy(programs: dict[bool, GraphModule]) -> None:
    def doubled(program: GraphModule) -> int:
        return sum(n.args[1] == 2.0 for n in program.graph.nodes if str(n.target) == "aten.mul.Tensor")

    once = separate_rounded_copies(programs[False])
    assert doubled(programs[False]) == 0
    assert doubled(once) == 1  # the norm's output; the input of the second linear layer has no other reader
    assert doubled(separate_rounded_copies(copy.deepcopy(once))) == 1


def test_a_prelu_is_the_larger_of_two_unless_it_is_steep() -> None:
    class Sloped(nn.Module):
        def __init__(self, steep: float) -> None:
            super().__init__()
            self.maps, self.vectors = nn.PReLU(3), nn.PReLU(6)
            self.maps.weight.data = torch.tensor([-0.5, 0.25, 1.0])
            self.vectors.weight.data = torch.tensor([0.0, 0.1, 0.2, -0.3, 1.0, steep])

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.vectors(self.maps(x).flatten(1))
            return out

    x = torch.randn(2, 3, 2, 1)
    for steep, left in ((0.9, 0), (1.5, 1)):
        graph = torch.export.export(Sloped(steep).eval(), (x,)).module()
        spelled = spell_out_prelus(graph)
        assert operators_of(spelled)["aten.prelu.default"] == left
        assert (answers(spelled, x) == answers(graph, x)).all()
