"""The encoder: sizes, windows, independence of a batch's samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from arbex.models import (
    BASE,
    PRESETS,
    CompactConfig,
    Encoder,
    EncoderConfig,
    ExpressionClassifier,
    LinearHead,
    ReliabilityHead,
    make_encoder,
)
from arbex.models.cost import measure_cost
from arbex.models.encoder import CrossFusionLevel
from arbex.models.windows import RelativePositionBias
from arbex.spec import EXPRESSIONS, Preprocessing
from tests.programs import SMALL_POSTER


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def build(preset: str) -> ExpressionClassifier:
    torch.manual_seed(0)
    config = PRESETS[preset]
    head = ReliabilityHead(config.out_features, 7)
    return ExpressionClassifier(make_encoder(config), head, EXPRESSIONS, Preprocessing(config.image_size)).eval()


def test_base_has_the_size_of_poster() -> None:
    config = BASE
    total = count(Encoder(config)) + count(LinearHead(config.embed_dim, 7))
    assert total == pytest.approx(43.75e6, rel=1e-3)


@pytest.mark.parametrize(("preset", "limit"), [("tiny", 0.4e6), ("small", 1.5e6), ("mobile", 2.5e6)])
def test_small_presets_keep_their_budget_of_parameters(preset: str, limit: float) -> None:
    assert count(build(preset)) <= limit


@pytest.mark.parametrize(("preset", "limit"), [("tiny", 50e6), ("small", 80e6), ("mobile", 250e6)])
def test_small_presets_keep_their_budget_of_operations(preset: str, limit: float) -> None:
    assert measure_cost(build(preset)).macs <= limit


@pytest.mark.parametrize("preset", ["tiny", "small", "mobile"])
def test_an_image_alone_and_in_a_batch_of_eight_give_the_same(preset: str) -> None:
    model = build(preset)
    side = model.preprocessing.image_size
    images = torch.randn(8, 3, side, side)
    with torch.no_grad():
        together = model(images).corrected
        alone = torch.cat([model(image[None]).corrected for image in images])
    assert (together - alone).abs().max() <= 1e-6


def test_base_gives_a_vector_of_768() -> None:
    model = build("base")
    with torch.no_grad():
        vector = model.encode(torch.zeros(1, 3, 224, 224))
    assert vector.shape == (1, 768)


@pytest.mark.parametrize("config", [SMALL_POSTER, PRESETS["tiny"]], ids=["poster", "compact"])
def test_every_parameter_is_used(config: EncoderConfig | CompactConfig) -> None:
    head = ReliabilityHead(config.out_features, 7)
    model = ExpressionClassifier(make_encoder(config), head, EXPRESSIONS, Preprocessing(64)).train()
    model(torch.randn(2, 3, 64, 64)).corrected.log().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert unused == []


def test_position_bias_depends_on_the_offset_alone() -> None:
    bias = RelativePositionBias(window=3, heads=2)()  # cells 0..8, row by row
    assert bias.shape == (1, 2, 9, 9)
    assert torch.equal(bias[0, :, 0, 1], bias[0, :, 4, 5])  # both one cell to the right
    assert torch.equal(bias[0, :, 0, 3], bias[0, :, 5, 8])  # both one cell down
    assert not torch.equal(bias[0, :, 0, 1], bias[0, :, 1, 0])


def test_windows_smaller_than_the_map_equal_a_loop_over_windows() -> None:
    torch.manual_seed(0)
    config = replace(SMALL_POSTER, windows=(4, 4, 2))
    level = CrossFusionLevel(config, 0).eval()
    landmarks, image = torch.randn(2, 16, 16, 16), torch.randn(2, 16, 16, 16)
    with torch.no_grad():
        out = level(landmarks, image)
        query = F.adaptive_avg_pool2d(landmarks, 4).flatten(2).transpose(1, 2)
        normed = level.norm_in(image.permute(0, 2, 3, 1))
        attended = torch.empty_like(normed)
        for top in range(0, 16, 4):
            for left in range(0, 16, 4):
                window = normed[:, top : top + 4, left : left + 4].reshape(2, 16, 16)
                answer = level.attention(query, window).reshape(2, 4, 4, 16)
                attended[:, top : top + 4, left : left + 4] = answer
        x = normed + level.attention_scale * attended
        expected = (x + level.mlp_scale * level.mlp(level.norm_mlp(x))).permute(0, 3, 1, 2)
    assert torch.allclose(out, expected, atol=1e-6)


def test_the_last_block_computes_the_class_token_as_it_would_among_all() -> None:
    encoder = Encoder(SMALL_POSTER).eval()
    tokens = [torch.randn(2, encoder.num_tokens // 3, encoder.out_features) for _ in range(3)]
    with torch.no_grad():
        sequence = torch.cat([encoder.class_token.expand(2, -1, -1), *tokens], dim=1) + encoder.position
        for block in encoder.fusion:
            sequence = block(sequence)
        expected = encoder.gate(encoder.norm(sequence)[:, 0])
        assert sequence.shape[1] == encoder.num_tokens + 1
        torch.testing.assert_close(encoder.fuse(tokens), expected, rtol=0, atol=1e-6)


def test_a_frozen_landmark_backbone_does_not_move() -> None:
    encoder = Encoder(replace(SMALL_POSTER, freeze_landmarks=True)).train()
    before = {k: v.clone() for k, v in encoder.landmarks.state_dict().items()}
    encoder(torch.randn(4, 3, 64, 64)).sum().backward()
    assert all(torch.equal(before[k], v) for k, v in encoder.landmarks.state_dict().items())
    assert all(p.grad is None for p in encoder.landmarks.parameters())
    assert encoder.image.stem[0].weight.grad is not None
