"""Biases make up for rounded weights: by hand, on average, and in how far answers move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from arbex.provenance import Recipe
from calibration import TensorRange
from export.trace import trace
from quantize.bias_correction import mean_effects
from quantize.operators import WEIGHTED
from quantize.patterns import calls
from quantize.program import calibrate, prepare, quantize
from quantize.recipe import ACCELERATOR, CPU
from quantize.rounding import is_observer, round_weight
from quantize.sensitivity import measure_costs
from tests.programs import exported, ranges_of, tiny_model


def without_means(ranges: dict[str, TensorRange]) -> dict[str, TensorRange]:
    return {name: replace(found, means=()) for name, found in ranges.items()}


def quantized_bias(program: GraphModule) -> Tensor:
    return next(buffer for name, buffer in program.named_buffers() if name.startswith("rounded_bias"))


def test_a_linear_layer_by_hand() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[127.0, 1.4]]), torch.tensor([10.0])
    program = exported(layer, torch.zeros(2, 2))
    # Scale of the weight 1: 1.4 is stored as 1, and 0.4 is missing for every unit of an input that is 20 on average.
    ranges = {"input_1": TensorRange(0.0, 255.0, (3.0, 20.0)), "linear": TensorRange(0.0, 510.0)}
    assert quantized_bias(quantize(program, ranges, CPU)).tolist() == [18.0]
    assert quantized_bias(quantize(program, without_means(ranges), CPU)).tolist() == [10.0]


@pytest.mark.parametrize(
    ("groups", "stride", "padding"), [(1, 1, 1), (1, 2, 0), (8, 1, 1)], ids=["padded", "strided", "depthwise"]
)
def test_the_mean_effect_on_a_convolution_is_what_happens_on_average(groups: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, stride, padding, groups=groups)
    program = exported(layer, torch.zeros(2, 8, 6, 6))
    images = torch.rand(64, 8, 1, 1).expand(-1, -1, 6, 6).contiguous()
    prepared = prepare(program, ACCELERATOR)
    prepared(images)
    (observer,) = [m for m in prepared.modules() if is_observer(m) and "per_channel" in str(m.qscheme)]
    effect = mean_effects(prepared, ranges_of(program, images))["conv2d"]
    with torch.no_grad():
        exact = layer(images)
        layer.weight.copy_(round_weight(layer.weight, observer))
        happens = (layer(images) - exact).mean((0, 2, 3))
    assert effect.tolist() == pytest.approx(happens.tolist(), abs=2e-3 * float(happens.abs().max()))


@pytest.mark.parametrize("recipe", [CPU, ACCELERATOR], ids=["cpu", "accelerator"])
def test_every_layer_in_int8_is_corrected_and_its_weight_costs_less(recipe: Recipe) -> None:
    traced = trace(tiny_model())
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    ranges = ranges_of(traced.program, images)
    prepared = prepare(traced.program, recipe)
    layers = [node for node in prepared.graph.nodes if calls(node, WEIGHTED)]
    found = mean_effects(prepared, ranges)
    assert set(found) == {n.name for n in layers if n.args[1].op == "call_module" and len(n.args) > 2}
    costs = measure_costs(traced.program, ranges, recipe, torch.split(images, 4))
    plain = measure_costs(traced.program, without_means(ranges), recipe, torch.split(images, 4))
    weights = [name for name in costs if name.endswith(".weight")]
    assert sum(costs[name] for name in weights) < sum(plain[name] for name in weights)


def test_calibration_counts_the_channels_that_layers_read() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Conv2d(4, 6, 1), nn.Conv2d(6, 8, 1), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.second(torch.relu(self.first(x)))
            out: Tensor = self.last(maps.mean((2, 3)))
            return out

    model, images = Small(), torch.rand(6, 4, 5, 5)
    seen = calibrate(exported(model, torch.zeros(2, 4, 5, 5)), torch.split(images, 4))
    relu = torch.relu(model.first(images)).mean((0, 2, 3))
    assert seen["relu"].means == pytest.approx(relu.tolist(), abs=2e-3)
    assert seen["mean"].means == pytest.approx(
        model.second(torch.relu(model.first(images))).mean((0, 2, 3)).tolist(), abs=2e-3
    )
    assert seen["linear"].channels is None
