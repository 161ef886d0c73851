"""The sensitivity table against what really happens when tensors are rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from arbex.provenance import Recipe
from calibration import TensorRange
from export.trace import TracedModel, trace
from quantize.placement import rounded_tensors
from quantize.program import apply_ranges, prepare, quantize
from quantize.recipe import ACCELERATOR, CPU, FLOAT
from quantize.sensitivity import Meter, analyze, count_macs, divergence, measure_costs
from tests.programs import exported, ranges_of, tiny_model


class Small(nn.Module):
    """Two layers and a softmax: small enough to work out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.second = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.second(torch.relu_(self.first(x)))
        return logits.softmax(-1), logits


@pytest.fixture(scope="module")
def small() -> GraphModule:
    torch.manual_seed(0)
    return exported(Small(), torch.zeros(2, 4))


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    return torch.randn(32, 4, generator=torch.Generator().manual_seed(1))


def true_kl(program: GraphModule, quantized: GraphModule, images: Tensor) -> float:
    with torch.no_grad():
        p, q = program(images)[0].double(), quantized(images)[0].double()
    return float((p * (p / q).log()).sum(1).mean())


def changes_of(program: GraphModule, images: Tensor, name: str) -> np.ndarray:
    """Returns the predicted change of the log-probabilities if one tensor is rounded."""
    prepared = prepare(program, ACCELERATOR)
    apply_ranges(prepared, ranges_of(program, images))
    return Meter(prepared).measure(images)[1][name]


def test_effects_are_gradients_times_rounding_errors(small: GraphModule, vectors: Tensor) -> None:
    seen = ranges_of(small, vectors)["x"]
    scale = max(abs(seen.low), abs(seen.high)) / 127
    x = vectors.clone().requires_grad_()
    moved = (vectors / scale).round().clamp(-127, 127) * scale - vectors
    logarithm = small(x)[0].log()
    found = changes_of(small, vectors, "x")
    for column in range(3):
        (gradient,) = torch.autograd.grad(logarithm[:, column].sum(), x, retain_graph=True)
        np.testing.assert_allclose(found[:, column], (gradient * moved).sum(1).numpy(), atol=2e-5)


def test_the_error_of_a_weight_passes_through_an_activation_in_place(small: GraphModule, vectors: Tensor) -> None:
    weight = dict(small.named_parameters())["first.weight"]
    scales = weight.detach().abs().amax(1, keepdim=True) / 127
    rounded = (weight.detach() / scales).round().clamp(-127, 127) * scales
    predicted = changes_of(small, vectors, "linear.weight")
    with torch.no_grad():
        before = small(vectors)[0].log()
        kept = weight.detach().clone()
        weight.copy_(rounded)
        after = small(vectors)[0].log()
        weight.copy_(kept)
    moved = (after - before).numpy()
    assert np.corrcoef(moved.ravel(), predicted.ravel())[0, 1] > 0.99
    assert np.abs(moved - predicted).max() < 0.1 * np.abs(moved).max()


def test_divergence_by_hand() -> None:
    # p = (1/2, 1/2) and a change of log p by (+d, -d): KL = d ** 2 / 2.
    even = np.array([[0.5, 0.5]])
    assert divergence(even, np.array([[0.1, -0.1]])) == pytest.approx(0.1**2 / 2)
    # Adding the same to every class changes nothing once probabilities add up to 1.
    assert divergence(even, np.array([[3.1, 2.9]])) == pytest.approx(0.1**2 / 2)
    # The mean over images.
    assert divergence(np.repeat(even, 2, 0), np.array([[0.1, -0.1], [0.0, 0.0]])) == pytest.approx(0.1**2 / 4)


def test_batches_do_not_matter(small: GraphModule, vectors: Tensor) -> None:
    ranges = ranges_of(small, vectors)
    one = measure_costs(small, ranges, ACCELERATOR, [vectors])
    two = measure_costs(small, ranges, ACCELERATOR, [vectors[:20], vectors[20:]])
    assert one == pytest.approx(two, rel=1e-4)
    assert sorted(one) == ["linear.weight", "linear_1.weight", "relu_", "x"]


@pytest.fixture(scope="module")
def traced() -> TracedModel:
    model = tiny_model()
    with torch.no_grad():  # a random head says the same of every image
        model.head.requires_grad_(False)
        for parameter in model.head.parameters():
            parameter.mul_(3.0)
    return trace(model)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(24, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def ranges(traced: TracedModel, images: Tensor) -> dict[str, TensorRange]:
    return ranges_of(traced.program, images)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [CPU, ACCELERATOR], ids=["cpu", "accelerator"])
def test_the_prediction_for_the_whole_program_is_near_the_truth(
    traced: TracedModel, ranges: dict[str, TensorRange], images: Tensor, recipe: Recipe
) -> None:
    costs = measure_costs(traced.program, ranges, recipe, torch.tensor_split(images, 3))
    predicted = analyze(traced.program, {recipe: costs}).predicted[0]
    true = true_kl(traced.program, quantize(traced.program, ranges, recipe), images)
    assert 0.3 < predicted / true < 3


def test_the_table_names_every_operator_and_its_share_of_the_work(
    traced: TracedModel, ranges: dict[str, TensorRange], images: Tensor
) -> None:
    found = analyze(traced.program, {CPU: measure_costs(traced.program, ranges, CPU, [images[:8]])})
    assert sorted(found.order) == sorted(cost.operator for cost in found.costs)
    assert [cost.kl for cost in found.costs] == sorted((cost.kl for cost in found.costs), reverse=True)
    assert len(found.order) == len(found.predicted) - 1 == len(found.int8_share) - 1
    assert found.predicted[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(a >= b - 1e-12 for a, b in zip(found.predicted, found.predicted[1:], strict=False))
    assert found.int8_share[-1] == 0.0
    macs = {cost.operator: cost.macs for cost in found.costs}
    gain = [(found.predicted[i] - found.predicted[i + 1]) / macs[name] for i, name in enumerate(found.order)]
    assert sum(gain[:10]) > 10 * sum(gain[-10:])
    assert 0.8 < found.int8_share[0] < 1.0
    assert all(a >= b for a, b in zip(found.int8_share, found.int8_share[1:], strict=False))
    assert not [cost for cost in found.costs if cost.module.startswith("head")]
    assert found.predicted[1] < found.predicted[0]


def test_multiply_adds_by_hand(small: GraphModule) -> None:
    assert count_macs(small) == {"linear": 24, "linear_1": 18}


def test_an_operator_named_in_the_recipe_stays_in_float(traced: TracedModel, ranges: dict[str, TensorRange]) -> None:
    before = rounded_tensors(prepare(traced.program, FLOAT), CPU)
    after = rounded_tensors(prepare(traced.program, FLOAT), replace(CPU, float_operators=("conv2d_5",)))
    assert before - after >= {"conv2d_5.weight"}
    program = quantize(traced.program, ranges, replace(CPU, float_operators=("conv2d_5",)))
    node = next(n for n in program.graph.nodes if n.name.startswith("conv2d_5") and "conv2d" in str(n.target))
    assert "dequantize" not in str(node.args[1])
