"""Constants of a program: attention masks are folded and stored as int8, and biases are rounded."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.folding import MASK, constant, fold_attention_masks
from quantize.operators import ATTENTION
from quantize.program import quantize
from quantize.recipe import CPU
from tests.programs import exported, ranges_of


class Attention(nn.Module):
    """Attention among 16 tokens with a bias that is looked up in a table, or made from the tokens."""

    def __init__(self, *, from_tokens: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(31, 2))
        self.index: Tensor
        self.register_buffer("index", torch.arange(16)[:, None] - torch.arange(16)[None, :] + 15)
        self.project = nn.Linear(8, 8)
        self.from_tokens = from_tokens

    def forward(self, x: Tensor) -> Tensor:
        heads = self.project(x).reshape(-1, 16, 2, 4).transpose(1, 2)  # [B, 2, 16, 4]
        looked_up = self.table[self.index].permute(2, 0, 1).unsqueeze(0)
        bias = heads @ heads.transpose(2, 3) if self.from_tokens else looked_up
        return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=bias)


def program(*, from_tokens: bool = False) -> GraphModule:
    return exported(Attention(from_tokens=from_tokens), torch.zeros(2, 16, 8))


def masks(graph: GraphModule) -> list[str]:
    nodes = [n for n in graph.graph.nodes if str(n.target) == ATTENTION]
    return [n.args[MASK].op for n in nodes]


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(1))


def test_a_looked_up_mask_becomes_a_constant_and_answers_stay(tokens: Tensor) -> None:
    before = program()
    expected = before(tokens)
    fold_attention_masks(before)
    assert masks(before) == ["get_attr"]
    assert before.position_bias_0.shape == (1, 2, 16, 16)
    assert torch.allclose(before(tokens), expected, atol=1e-6)


def test_a_mask_that_depends_on_the_input_is_left_alone(tokens: Tensor) -> None:
    graph = program(from_tokens=True)
    expected = graph(tokens)
    node = next(n for n in graph.graph.nodes if str(n.target) == ATTENTION)
    with pytest.raises(LookupError):
        constant(graph, node.args[MASK])
    fold_attention_masks(graph)
    assert masks(graph) == ["call_function"]
    assert torch.equal(graph(tokens), expected)


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(16, 16).tril().bool(),
        torch.full((1, 2, 16, 16), -torch.inf).triu(1),
        torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(3)) - 100 * torch.ones(16, 16).triu(1),
        torch.randn(16, 16, generator=torch.Generator().manual_seed(2)),
    ],
    ids=["boolean", "infinite", "large", "flat"],
)
@pytest.mark.parametrize("fold", [True, False])
def test_masks_that_are_no_position_biases_stay_exact(tokens: Tensor, mask: Tensor, fold: bool) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask: Tensor
            self.register_buffer("mask", mask.clone())

        def forward(self, x: Tensor) -> Tensor:
            heads = x.reshape(-1, 16, 2, 4).transpose(1, 2)
            return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=self.mask.clone())

    graph = exported(Masked(), torch.zeros(2, 16, 8))
    converted = quantize(graph, ranges_of(graph, tokens), CPU, fold=fold)
    assert torch.allclose(converted(tokens), graph(tokens), atol=1e-6)


@pytest.mark.parametrize("fold", [True, False])
def test_a_mask_is_stored_as_int8_with_a_scale_per_head(tokens: Tensor, fold: bool) -> None:
    graph = program()
    converted = quantize(graph, ranges_of(graph, tokens), CPU, fold=fold)
    stored = [b for b in converted.buffers() if b.shape == (1, 2, 16, 16)]
    assert [b.dtype for b in stored] == [torch.int8]
    assert stored[0].abs().amax((0, 2, 3)).tolist() == [127, 127]
    assert (converted(tokens) - graph(tokens)).abs().max() < 0.05


def test_both_ways_to_store_a_mask_are_the_same_numbers(tokens: Tensor) -> None:
    graph = program()
    ranges = ranges_of(graph, tokens)
    one, two = (quantize(graph, ranges, CPU, fold=fold) for fold in (True, False))
    assert torch.equal(one(tokens), two(tokens))


@pytest.mark.parametrize("fold", [True, False])
def test_biases_are_whole_numbers_of_what_integer_kernels_add_up(fold: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5))
    images = torch.randn(4, 4, 8, 8)
    graph = exported(model, images)
    converted = quantize(graph, ranges_of(graph, images), CPU, fold=fold)
    checked = 0
    for node in converted.graph.nodes:
        if str(node.target) in CPU.operators:
            unit = node.args[0].args[1] * constant(converted, node.args[1].args[1]).double()
            counts = constant(converted, node.args[2]).double() / unit
            assert (counts - counts.round()).abs().max() < 1e-3
            assert counts.abs().max() > 100
            checked += 1
    assert checked == 2
    with torch.no_grad():
        assert (converted(images) - graph(images)).abs().max() < 0.05
