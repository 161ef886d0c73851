"""POSTER's pyramid against numbers worked out by hand; its whole against the plain network, with imported weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from arbex.models import ExpressionClassifier, LinearHead, PyramidConfig, make_encoder
from arbex.models.cost import measure_cost
from arbex.models.presets import POSTER, read_encoder_config
from arbex.models.pyramid import CrossAttention, Narrow, PyramidEncoder, StreamPair, Widen, with_mean
from arbex.spec import EXPRESSIONS, Preprocessing


def test_narrowing_is_a_strided_convolution_along_the_features() -> None:
    # kernels [out, in, width]: the first token 1*1 + 2*2 + 3*0 + 4*1 + .5 = 9.5, and so on
    layer = Narrow(2, 2)
    layer.weight.data.copy_(torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [1, 0]]]).flatten(1))
    layer.bias.data.copy_(torch.tensor([0.5, -0.5]))
    tokens = torch.tensor([[[1.0, 2, 3, 4], [0, 1, 0, -1]]])
    assert layer(tokens).tolist() == [[[9.5, 7.5], [1.5, 3.5]]]
    reference = nn.functional.conv1d(tokens, layer.weight.view(2, 2, 2), layer.bias, stride=2)
    assert torch.equal(layer(tokens), reference)


def test_widening_is_a_transposed_convolution_along_the_features() -> None:
    kernel, bias = torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [1, 0]]]), torch.tensor([0.5, -0.5])  # [in, out, width]
    layer = Widen(2)
    layer.spread.weight.data.copy_(kernel.permute(1, 2, 0).flatten(0, 1))
    layer.bias.data.copy_(bias[:, None])
    tokens = torch.tensor([[[1.0, 2], [3, 0]]])
    assert layer(tokens).tolist() == [[[1.5, 5.5, 2.5, 4.5], [5.5, 3.5, 5.5, 7.5]]]
    assert torch.equal(layer(tokens), nn.functional.conv_transpose1d(tokens, kernel, bias, stride=2))


def test_cross_attention_by_hand() -> None:
    # queries 1 and 0, keys and values 0 and ln 8: 8/9 ln 8 and 1/2 ln 8
    attention = CrossAttention(1, 1)
    for layer in (attention.key_value, attention.project):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    answer = attention(torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[0.0], [math.log(8)]]]))
    assert answer.flatten().tolist() == pytest.approx([1.8484, 1.0397], abs=1e-4)


def test_each_stream_asks_with_the_tokens_of_the_other() -> None:
    """Two tokens per stream, two channels, no feed-forward; norms give plus and minus (1, -1)."""
    block = StreamPair(PyramidConfig(image_size=32, heads=1), 2, 0.0).eval()
    for attention in block.attention.values():
        assert isinstance(attention, CrossAttention)
        attention.key_value.weight.data.copy_(torch.eye(2).repeat(2, 1))
        attention.project.weight.data.copy_(torch.eye(2))
        nn.init.zeros_(attention.key_value.bias)
        nn.init.zeros_(attention.project.bias)
    for mlp in block.mlp.values():
        for parameter in mlp.parameters():
            nn.init.zeros_(parameter)
    assert block.mix is not None
    block.mix.weight.data.copy_(torch.eye(4))
    nn.init.zeros_(block.mix.bias)
    tokens = torch.tensor([[[3.0, 1], [0, 2], [1, 4], [5, 1]]])
    t = math.tanh(math.sqrt(2))
    expected = [[3 - t, 1 + t], [t, 2 - t], [1 + t, 4 - t], [5 - t, 1 + t]]
    assert torch.allclose(block(tokens)[0], torch.tensor(expected), atol=1e-4)
    block.mix.weight.data[0] = torch.tensor([1.0, 0, 1, 0])  # the first token is the sum of two
    assert torch.allclose(block(tokens)[0, 0], torch.tensor([4.0, 5.0]), atol=1e-4)


def test_class_tokens_are_means() -> None:
    assert with_mean(torch.tensor([[[1.0], [3.0]]])).tolist() == [[[2.0], [1.0], [3.0]]]


def test_image_tokens_are_pieces_of_memory() -> None:
    """As in the public code, token t holds values 1024 t to 1024 t + 1023 of the map, channel by channel."""
    encoder = PyramidEncoder(PyramidConfig(image_size=64)).eval()
    channels = encoder.image(torch.zeros(1, 3, 32, 32))[-1]
    assert channels.shape == (1, 256, 4, 4)  # 4,096 values, for 4 tokens
    encoder.image.forward = lambda x: [torch.arange(4096.0).view(1, 256, 4, 4)]  # type: ignore[method-assign]
    nn.init.zeros_(encoder.project.weight)
    nn.init.zeros_(encoder.project.bias)
    encoder.project.weight.data[0, 0] = 1.0  # the first value of each token
    tokens = encoder.streams(torch.zeros(1, 3, 64, 64))
    assert tokens[0, 1:5, 0].tolist() == [0, 1024, 2048, 3072]


@pytest.mark.parametrize(
    ("config", "parameters", "gmacs"),
    [
        (POSTER, 58_906_255, 7.857),
        (PyramidConfig(depth=4), 39_284_991, 6.791),
        (PyramidConfig(token_mixing=False), 58_663_855, 7.785),
    ],
)
def test_the_published_sizes(config: PyramidConfig, parameters: int, gmacs: float) -> None:
    model = ExpressionClassifier(make_encoder(config), LinearHead(512, 7), EXPRESSIONS, Preprocessing(224)).eval()
    cost = measure_cost(model)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=0.005)


def test_the_configuration_reads_back() -> None:
    config = PyramidConfig(image_size=64, depth=4, token_mixing=False, freeze_landmarks=False)
    assert read_encoder_config(config.to_json()) == config
