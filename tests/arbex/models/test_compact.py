"""The encoder of the small presets, against the same in plain steps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.checkpoint import RunConfig, read_config
from arbex.models import PRESETS, CompactConfig, CompactEncoder, Encoder, make_encoder
from arbex.models.compact import ResidualConv, WindowCrossAttention
from tests.programs import SMALL_POSTER


def randomize_norms(module: nn.Module) -> None:
    """Gives every batch norm statistics and weights of its own, as after training."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor, low, high in (
                (m.weight.data, 0.5, 1.5),
                (m.bias.data, -0.5, 0.5),
                (m.running_mean, -0.5, 0.5),
                (m.running_var, 0.5, 2.0),
            ):
                assert tensor is not None
                tensor.uniform_(low, high)


@torch.no_grad()
@pytest.mark.parametrize("window", [6, 3])
def test_cross_attention_equals_loops_over_images_windows_heads_and_cells(window: int) -> None:
    torch.manual_seed(0)
    heads, channels, side, batch = 2, 8, 6, 2
    module = WindowCrossAttention(channels, heads, window, 0.1).eval()
    randomize_norms(module)
    landmarks, image = torch.randn(batch, channels, side, side), torch.randn(batch, channels, side, side)
    pair = module.key_value(image)  # [B, 2C, H, W]
    asked = F.adaptive_avg_pool2d(landmarks, window)
    width = channels // heads
    attended = torch.zeros_like(image)
    for b in range(batch):
        for top in range(0, side, window):
            for left in range(0, side, window):
                for head in range(heads):
                    own = slice(head * width, (head + 1) * width)
                    values = slice(channels + head * width, channels + (head + 1) * width)
                    for row in range(window):
                        for column in range(window):
                            query = asked[b, own, row, column]
                            scores = []
                            for y in range(window):
                                for x in range(window):
                                    offset = (row - y + window - 1) * (2 * window - 1) + column - x + window - 1
                                    key = pair[b, own, top + y, left + x]
                                    bias = module.position.table[offset, head]
                                    scores.append(query @ key / math.sqrt(width) + bias)
                            weights = torch.stack(scores).softmax(0).view(window, window)
                            cells = pair[b, values, top : top + window, left : left + window]
                            attended[b, own, top + row, left + column] = (weights * cells).sum((1, 2))
    expected = image + module.project(attended)
    torch.testing.assert_close(module(landmarks, image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_what_cross_attention_adds_at_first_is_as_large_as_its_scale(scale: float) -> None:
    torch.manual_seed(0)
    module = WindowCrossAttention(96, 3, 8, scale).train()
    landmarks, image = torch.randn(8, 96, 8, 8), torch.randn(8, 96, 8, 8)
    added = module(landmarks, image) - image
    assert added.std().item() == pytest.approx(scale, rel=0.1)


def test_a_residual_convolution_starts_from_what_comes_in() -> None:
    module = ResidualConv(4).eval()
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        norm = module.conv[1]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.zero_()
        assert torch.equal(module(x), F.relu(x))


@pytest.mark.parametrize("preset", ["tiny", "small", "mobile"])
def test_the_vector_is_the_mean_over_the_tokens(preset: str) -> None:
    config = PRESETS[preset]
    assert isinstance(config, CompactConfig)
    encoder = CompactEncoder(config).eval()
    images = torch.randn(2, 3, config.image_size, config.image_size)
    with torch.no_grad():
        tokens = encoder.tokens(images)
        assert [t.shape for t in tokens] == [(2, encoder.num_tokens, config.out_features)]
        torch.testing.assert_close(encoder.fuse(tokens), encoder(images), rtol=1e-5, atol=1e-6)


def test_both_streams_and_the_attention_change_the_vector() -> None:
    torch.manual_seed(0)
    encoder = make_encoder(PRESETS["tiny"]).eval()
    randomize_norms(encoder)
    images = torch.randn(2, 3, 64, 64)

    def without(part: nn.Module) -> Tensor:
        handle = part.register_forward_hook(lambda module, inputs, out: torch.zeros_like(out))
        vector: Tensor = encoder(images)
        handle.remove()
        return vector

    assert isinstance(encoder, CompactEncoder)
    with torch.no_grad():
        whole = encoder(images)
        for part in (encoder.landmarks, encoder.attention.project, encoder.image[0]):
            assert (without(part) - whole).abs().max() > 1e-5 * whole.abs().max()  # float32 rounds to 1e-7


@pytest.mark.parametrize("config", [PRESETS["tiny"], SMALL_POSTER], ids=["compact", "poster"])
def test_a_stored_configuration_builds_the_encoder_it_came_from(config: CompactConfig, run: Path) -> None:
    read = RunConfig.from_json(replace(read_config(run), encoder=config).to_json())
    assert read.encoder == config
    assert isinstance(make_encoder(config), CompactEncoder if isinstance(config, CompactConfig) else Encoder)
