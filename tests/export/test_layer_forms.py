"""Layers of custom backbones in one form: the same numbers, and nothing that quantization would overlook."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from export.layer_forms import unify_layers
from quantize.operators import WEIGHTED
from quantize.patterns import calls
from quantize.sensitivity import count_macs
from tests.programs import exported, operators_of


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 4, 9, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:Using padding=.same")
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding="same"),
        nn.Conv2d(4, 6, (4, 3), padding="same", bias=False),
        nn.Conv2d(4, 6, 2, padding="same", dilation=3),
        nn.Conv2d(4, 8, 3, stride=2, padding="valid", groups=2),
    ],
    ids=["odd kernel", "even kernel", "dilated", "valid"],
)
def test_padding_in_words_becomes_numbers(layer: nn.Module, images: Tensor) -> None:
    program = exported(layer, images)
    unified = unify_layers(program)
    assert operators_of(unified)["aten.conv2d.default"] == 1
    assert torch.allclose(unified(images), program(images), atol=1e-6)
    assert torch.allclose(unified(images[:1]), program(images[:1]), atol=1e-6)
    assert sum(count_macs(unified).values()) > 0


def test_computed_weights_are_stored(images: Tensor) -> None:
    program = exported(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3)), images)
    unified = unify_layers(program)
    layers = [node for node in unified.graph.nodes if calls(node, WEIGHTED)]
    assert [node.args[1].op for node in layers] == ["get_attr"]
    assert torch.allclose(unified(images), program(images), atol=1e-6)


def test_other_programs_stay_as_they_are(images: Tensor) -> None:
    program = exported(nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()), images)
    assert unify_layers(program).code == program.code
