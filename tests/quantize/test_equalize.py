"""Cross-layer equalization: the same numbers, with channels of similar sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.equalize import LARGEST_EXPONENT, Sizes, equalize, exponents, find_pairs


class Chain(nn.Module):
    """Dense, depth-wise and dense again, with everything that may stand between."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.one, self.norm = nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.two, self.slope = nn.Conv2d(16, 16, 3, groups=16), nn.PReLU(16)
        self.three = nn.Conv2d(16, 4, 1)
        self.norm.weight.data = torch.logspace(-3, 2, 16, base=2)
        self.norm.bias.data = 0.3 * self.norm.weight.data  # no channel is silent
        self.two.weight.data *= torch.logspace(2, -12, 16, base=2).view(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.three(self.slope(self.two(self.norm(self.one(x)).relu())))
        return out


def traced(model: nn.Module, x: Tensor) -> GraphModule:
    program = torch.export.export(model.eval(), (x,)).module()
    assert isinstance(program, GraphModule)
    return program


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(4))


def channel_sizes(program: GraphModule, x: Tensor) -> list[Tensor]:
    sizes = Sizes(program, {pair.activation for pair in find_pairs(program)})
    with torch.no_grad():
        sizes.run(x)
    return list(sizes.found.values())


def test_not_one_bit_of_an_answer_changes(x: Tensor) -> None:
    program = traced(Chain(), x)
    before = {name: value.clone() for name, value in program.state_dict().items()}
    equal, found = equalize(program, x)
    assert len(found) == 2
    assert all(min(powers) < 0 and max(powers) == 0 for powers in found.values())
    assert torch.equal(equal(x), program(x))
    other = torch.randn(5, 3, 12, 12) * 7
    assert torch.equal(equal(other), program(other))
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())


def test_channels_of_a_depthwise_layer_become_of_one_size(x: Tensor) -> None:
    program = traced(Chain(), x)
    before, after = channel_sizes(program, x), channel_sizes(equalize(program, x)[0], x)
    assert before[0].max() / before[0].min() > 16
    assert after[0].max() / after[0].min() <= 2
    assert after[0].max() >= before[0].max()  # channels of small values grow; the largest stays
    # Before a dense layer only half of the way, since its weights lose what a channel gains.
    assert 2 < after[1].max() / after[1].min() < 2 * (before[1].max() / before[1].min()).sqrt()


class Multiplied(Chain):
    """A depth-wise layer with two kernels per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.two, self.slope = nn.Conv2d(16, 32, 3, groups=16), nn.PReLU(32)
        self.three = nn.Conv2d(32, 4, 1)


def test_channels_may_have_several_kernels(x: Tensor) -> None:
    program = traced(Multiplied(), x)
    equal, found = equalize(program, x)
    assert any(any(powers) for powers in found.values())
    assert torch.equal(equal(x), program(x))


def test_exponents_by_hand() -> None:
    sizes = torch.tensor([8.0, 4.0, 1.0, 0.3, 0.0])
    assert exponents(sizes, depthwise=True).tolist() == [0, -1, -3, -5, -LARGEST_EXPONENT]
    assert exponents(sizes, depthwise=False).tolist() == [0, 0, -2, -2, -LARGEST_EXPONENT / 2]  # ties go to even
    assert exponents(torch.zeros(3), depthwise=True).tolist() == [-LARGEST_EXPONENT] * 3


class Twice(Chain):
    """Two layers read the output of the first activation."""

    def forward(self, x: Tensor) -> Tensor:
        middle = self.norm(self.one(x)).relu()
        out: Tensor = self.three(self.two(middle)) + self.three(middle[:, :, 1:-1, 1:-1])
        return out


class Curved(Chain):
    """An activation that is not homogeneous."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(torch.nn.functional.silu(self.one(x)))
        return out


class Shared(Chain):
    """A layer that is used in two places."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.two(self.one(x).relu()).relu())
        return out


class Grouped(Chain):
    """A layer with groups of several channels."""

    def __init__(self) -> None:
        super().__init__()
        self.two = nn.Conv2d(16, 16, 3, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x).relu())
        return out


class WithoutParameters(Chain):
    """A batch norm that could not take over a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(16, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.norm(self.one(x)).relu())
        return out


@pytest.mark.parametrize("model", [Twice, Curved, Shared, Grouped, WithoutParameters])
def test_what_cannot_be_scaled_is_left_alone(model: type[nn.Module], x: Tensor) -> None:
    program = traced(model(), x)
    equal, found = equalize(program, x)
    assert not found
    assert torch.equal(equal(x), program(x))
