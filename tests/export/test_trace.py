"""Tracing, half precision and the input stage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from arbex.errors import BackendError
from arbex.models import ExpressionClassifier, LinearHead
from arbex.models.head import Balance
from arbex.spec import EXPRESSIONS, Preprocessing
from export.channel_equalization import equalize_channels
from export.half_precision import find_head, to_half
from export.trace import InputStage, TracedModel, trace
from tests.programs import tiny_model


@pytest.fixture(scope="module")
def model() -> ExpressionClassifier:
    return tiny_model()


@pytest.fixture(scope="module")
def traced(model: ExpressionClassifier) -> TracedModel:
    return trace(model)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_traced_program_answers_like_the_model_for_any_batch(
    model: ExpressionClassifier, traced: TracedModel, batch: int
) -> None:
    x = torch.randn(batch, 3, 64, 64)
    with torch.no_grad():
        output = model(x)
        corrected, primary, confidence = traced.program(x)
    assert torch.allclose(corrected, output.corrected, atol=1e-6)
    assert torch.allclose(primary, output.primary, atol=1e-6)
    assert torch.allclose(confidence, output.confidence, atol=1e-6)


@pytest.mark.slow
def test_equalizing_changes_the_channels_and_not_the_model(model: ExpressionClassifier) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    traced = equalize_channels(trace(model))
    assert any(min(powers) < 0 for powers in traced.equalized.values())
    assert traced.equalized == equalize_channels(trace(model)).equalized
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_input_stage_normalizes_pixels(model: ExpressionClassifier, traced: TracedModel) -> None:
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    mean, std = torch.tensor(traced.preprocessing.mean), torch.tensor(traced.preprocessing.std)
    normalized = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model(normalized).corrected
        nhwc = InputStage(traced.program, traced.preprocessing)(pixels)[0]
        nchw = InputStage(traced.program, traced.preprocessing, nhwc=False)(pixels.permute(0, 3, 1, 2).float())[0]
    assert torch.allclose(nhwc, expected, atol=1e-5)
    assert torch.allclose(nchw, expected, atol=1e-5)


def test_half_precision_stops_at_the_head(traced: TracedModel) -> None:
    half = to_half(traced.program)
    parameters = dict(half.named_parameters())
    assert {v.dtype for k, v in parameters.items() if k.startswith("encoder.")} == {torch.float16}
    assert {v.dtype for k, v in parameters.items() if k.startswith("head.")} == {torch.float32}
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        exact, rough = traced.program(x)[0], half(x)[0]
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 5e-3


def test_half_precision_does_not_touch_the_original(traced: TracedModel) -> None:
    to_half(traced.program)
    assert {p.dtype for p in traced.program.parameters()} == {torch.float32}


def test_the_head_is_found_by_its_module(traced: TracedModel) -> None:
    names = {str(n.target) for n in find_head(traced.program)}
    assert "aten.exp.default" in names
    assert "aten.conv2d.default" not in names


def test_a_model_that_branches_on_values_is_refused_in_one_paragraph() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    bad = ExpressionClassifier(Branching(), LinearHead(3, 7), EXPRESSIONS, Preprocessing(64)).eval()
    with pytest.raises(BackendError, match=r"cannot trace.*must not branch"):
        trace(bad)


def test_a_linear_head_traces_too() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = ExpressionClassifier(encoder, LinearHead(8, 7), EXPRESSIONS, Preprocessing(64)).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert isinstance(model.balance(x), Balance)
        assert torch.allclose(trace(model).program(x)[0], model(x).corrected, atol=1e-6)
