"""POSTER, the predecessor of POSTER++ (arXiv 2204.04083): tokens of landmarks and image ask each other in a pyramid.

The levels of the pyramid are not maps of several sizes, but the same tokens in several widths. In shapes, B is the
batch size, S the side of the input, T = (S/32)^2 the number of tokens of a stream, P = 2T + 2 the number of all tokens,
with a class token per stream, and D the width of a level.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.models.backbones import ImageBackbone, LandmarkBackbone
from arbex.models.encoder import NORM_EPSILON, FeedForward, SqueezeExcite, drop_path
from arbex.models.presets import BASE, PyramidConfig

FACTORS = (2, 4)
"""By how much the second and third level are narrower than the first."""


class CrossAttention(nn.Module):
    """Attention from the tokens of one stream to those of the other; queries are not projected."""

    def __init__(self, dim: int, heads: int) -> None:
        """Builds the projections for ``dim`` channels."""
        super().__init__()
        self.heads = heads
        self.key_value = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Maps tokens of both streams ``[B, T + 1, D]`` to ``[B, T + 1, D]``."""
        batch, tokens, dim = asked.shape
        query = asking.reshape(batch, tokens, self.heads, -1).transpose(1, 2)  # [B, heads, T + 1, D/heads]
        key_value = self.key_value(asked).reshape(batch, tokens, 2, self.heads, -1)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, T + 1, D/heads] each
        out = F.scaled_dot_product_attention(query, key, value)
        return self.project(out.transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[no-any-return]


class StreamPair(nn.Module):
    """A transformer block for both streams of one level, each of which asks with the tokens of the other."""

    def __init__(self, config: PyramidConfig, dim: int, drop: float) -> None:
        """Builds attention and feed-forward layers for ``dim`` channels."""
        super().__init__()
        self.drop = drop
        streams = ("image", "landmarks")
        self.norm = nn.ModuleDict({each: nn.LayerNorm(dim, eps=NORM_EPSILON) for each in streams})
        self.attention = nn.ModuleDict({each: CrossAttention(dim, config.heads) for each in streams})
        self.norm_mlp = nn.ModuleDict({each: nn.LayerNorm(dim, eps=NORM_EPSILON) for each in streams})
        self.mlp = nn.ModuleDict({each: FeedForward(dim, config.mlp_ratio, gelu=True) for each in streams})
        self.mix = nn.Linear(config.all_tokens, config.all_tokens) if config.token_mixing else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps the tokens of both streams ``[B, P, D]``, those of the image first, to ``[B, P, D]``."""
        own = dict(zip(self.norm, tokens.chunk(2, dim=1), strict=True))
        answers = []
        for name, other in (("image", "landmarks"), ("landmarks", "image")):
            # Both streams pass the norm of the one that is answered, before either changes.
            asking, asked = self.norm[name](own[other]), self.norm[name](own[name])
            x = own[name] + drop_path(self.attention[name](asking, asked), self.drop, self.training)
            answers.append(x + drop_path(self.mlp[name](self.norm_mlp[name](x)), self.drop, self.training))
        joined = torch.cat(answers, dim=1)
        return joined if self.mix is None else self.mix(joined.transpose(1, 2)).transpose(1, 2)


class Narrow(nn.Linear):
    """A convolution along the features, whose channels are the tokens and whose stride is its width."""

    def __init__(self, tokens: int, factor: int) -> None:
        """Builds the convolution as a linear layer over the tokens and the features under the kernel."""
        super().__init__(tokens * factor, tokens)
        self.factor = factor

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps ``[B, P, D]`` to ``[B, P, D/factor]``."""
        batch, count, dim = tokens.shape
        pieces = tokens.reshape(batch, count, dim // self.factor, self.factor).permute(0, 2, 1, 3)
        return super().forward(pieces.flatten(2)).transpose(1, 2)


class Widen(nn.Module):
    """The transposed convolution that makes tokens twice as wide, as a linear layer over the tokens."""

    def __init__(self, tokens: int) -> None:
        """Builds the layer, which has two outputs per token, and one offset for both."""
        super().__init__()
        self.spread = nn.Linear(tokens, 2 * tokens, bias=False)
        self.bias = nn.Parameter(torch.zeros(tokens, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps ``[B, P, D]`` to ``[B, P, 2 D]``."""
        batch, count, dim = tokens.shape
        pairs = self.spread(tokens.transpose(1, 2)).reshape(batch, dim, count, 2)
        return pairs.permute(0, 2, 1, 3).flatten(2) + self.bias  # type: ignore[no-any-return]


class PyramidBlock(nn.Module):
    """A block for each level; then the narrow levels are added to the wider ones."""

    def __init__(self, config: PyramidConfig, drop: float) -> None:
        """Builds the blocks of the three levels."""
        super().__init__()
        self.levels = nn.ModuleList(StreamPair(config, config.embed_dim // f, drop) for f in (1, *FACTORS))
        self.widen = nn.ModuleList(Widen(config.all_tokens) for _ in FACTORS)

    def forward(self, wide: Tensor, middle: Tensor, narrow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps the tokens of three levels, ``[B, P, D]``, ``[B, P, D/2]`` and ``[B, P, D/4]``, to the same shapes."""
        wide, middle, narrow = (
            level(tokens) for level, tokens in zip(self.levels, (wide, middle, narrow), strict=True)
        )
        middle = middle + self.widen[1](narrow)
        return wide + self.widen[0](middle), middle, narrow


class PyramidEncoder(nn.Module):
    """Maps images to vectors: backbones, tokens of both streams, a pyramid of cross-attention."""

    def __init__(self, config: PyramidConfig) -> None:
        """Builds the encoder that ``config`` describes, with fresh weights."""
        super().__init__()
        self.config = config
        self.out_features = dim = config.embed_dim
        shape = replace(BASE, image_size=config.image_size, freeze_landmarks=config.freeze_landmarks)
        self.image, self.landmarks = ImageBackbone(shape), LandmarkBackbone(shape)
        self.project = nn.Linear(4 * shape.image_channels[-1], dim)
        self.position = nn.Parameter(torch.zeros(1, config.tokens + 1, dim))
        self.narrow = nn.ModuleList(Narrow(config.all_tokens, factor) for factor in FACTORS)
        drops = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(PyramidBlock(config, drop) for drop in drops)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.gate = SqueezeExcite(dim)

    def streams(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, S, S]`` to the tokens of both streams ``[B, P, D]``, the image first."""
        step = self.config.subsample
        x = images[:, :, ::step, ::step]  # exactly nearest interpolation by 1/step
        landmarks = self.landmarks(x)[-1].flatten(2).transpose(1, 2)  # [B, T, D]
        # The public code cuts the map as it lies in memory, channel by channel, into tokens: no token is a place.
        pieces = self.image(x)[-1].flatten(1).reshape(-1, self.config.tokens, self.project.in_features)
        image = with_mean(self.project(pieces)) + self.position
        return torch.cat([image, with_mean(landmarks)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, S, S]`` to vectors ``[B, D]``."""
        wide = self.streams(images)
        middle, narrow = (narrower(wide) for narrower in self.narrow)
        for block in self.blocks:
            wide, middle, narrow = block(wide, middle, narrow)
        out: Tensor = self.gate(self.norm(wide[:, 0]))
        return out


def with_mean(tokens: Tensor) -> Tensor:
    """Returns tokens ``[B, T, D]`` with their mean in front ``[B, T + 1, D]``, which becomes the class token."""
    return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
