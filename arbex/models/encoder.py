"""The encoder: window cross-attention between landmark and image maps, fused by a small transformer.

Section 3.2 of ARBEx; preset ``base`` is POSTER++ (arXiv 2301.12149). In shapes, B is the batch size, C the width of a
level, H = W the side of its map, w the side of its windows, n the number of windows per map, D the width of the
embedding and T the number of tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.models.backbones import ImageBackbone, LandmarkBackbone
from arbex.models.presets import EncoderConfig
from arbex.models.windows import RelativePositionBias, merge, partition, pooled_queries

NORM_EPSILON = 1e-6
"""Epsilon of the layer norms in the fusion transformer."""


def drop_path(x: Tensor, probability: float, training: bool) -> Tensor:
    """In training, zeroes each sample of ``x`` [B, ...] with a probability and rescales the others."""
    if not training or probability == 0.0:
        return x
    keep = torch.empty(x.shape[0], *[1] * (x.dim() - 1), device=x.device).bernoulli_(1 - probability)
    return x * keep.to(x.dtype) / (1 - probability)


class FeedForward(nn.Sequential):
    """Two linear layers with an activation between them."""

    def __init__(self, dim: int, ratio: int, *, gelu: bool) -> None:
        """Builds the layers ``dim -> ratio * dim -> dim``."""
        super().__init__(nn.Linear(dim, ratio * dim), nn.GELU() if gelu else nn.ReLU(), nn.Linear(ratio * dim, dim))


def conv(channels_in: int, channels: int, kernel: int, stride: int = 1, *, norm: bool) -> nn.Sequential:
    """Returns a convolution with bias, followed by a batch norm if ``norm``."""
    layers: list[nn.Module] = [nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2)]
    return nn.Sequential(*layers, nn.BatchNorm2d(channels)) if norm else nn.Sequential(*layers)


class CrossAttention(nn.Module):
    """Attention inside one window, from landmarks to the image.

    The landmark tokens are the queries, without a projection; a linear layer maps the image tokens to keys and values.
    """

    def __init__(self, dim: int, heads: int, window: int) -> None:
        """Builds the projections for ``dim`` channels and the position bias for the side of a window."""
        super().__init__()
        self.heads = heads
        self.key_value = nn.Linear(dim, 2 * dim)
        self.position = RelativePositionBias(window, heads)
        self.project = nn.Linear(dim, dim)

    def forward(self, landmarks: Tensor, image: Tensor) -> Tensor:
        """Maps landmark and image tokens, both ``[B*n, w*w, C]``, to ``[B*n, w*w, C]``."""
        batch, tokens, dim = image.shape
        query = landmarks.reshape(batch, tokens, self.heads, -1).transpose(1, 2)  # [B*n, heads, w*w, C/heads]
        key_value = self.key_value(image).reshape(batch, tokens, 2, self.heads, -1)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)  # [B*n, heads, w*w, C/heads] each
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=self.position())
        return self.project(out.transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[no-any-return]


class CrossFusionLevel(nn.Module):
    """One level of the pyramid: norm, windows, cross-attention, feed-forward.

    The shortcut is the map *after* the norm, as in POSTER++.
    """

    def __init__(self, config: EncoderConfig, level: int) -> None:
        """Builds level 0, 1 or 2 of ``config``."""
        super().__init__()
        dim = config.level_channels[level]
        self.window = config.windows[level]
        self.drop = config.drop_path[level]
        self.norm_in = nn.LayerNorm(dim)
        self.attention = CrossAttention(dim, config.level_heads[level], self.window)
        self.attention_scale = nn.Parameter(torch.full((dim,), config.layer_scale))
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, config.mlp_ratio, gelu=config.gelu)
        self.mlp_scale = nn.Parameter(torch.full((dim,), config.layer_scale))

    def forward(self, landmarks: Tensor, image: Tensor) -> Tensor:
        """Maps landmark and image maps, both ``[B, C, H, W]``, to ``[B, C, H, W]``."""
        side = image.shape[-1]
        shortcut = self.norm_in(image.permute(0, 2, 3, 1))  # [B, H, W, C]
        windows = partition(shortcut, self.window)  # [B*n, w*w, C]
        queries = pooled_queries(landmarks, self.window)
        attended = merge(self.attention(queries, windows), self.window, side)  # [B, H, W, C]
        x = shortcut + drop_path(self.attention_scale * attended, self.drop, self.training)
        x = x + drop_path(self.mlp_scale * self.mlp(self.norm_mlp(x)), self.drop, self.training)
        out: Tensor = x.permute(0, 3, 1, 2)
        return out


class FusionBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, ratio: int, *, gelu: bool) -> None:
        """Builds attention and feed-forward for ``dim`` channels."""
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.mlp = FeedForward(dim, ratio, gelu=gelu)

    def attend(self, x: Tensor, first: int) -> Tensor:
        """Returns the attention output ``[B, first, D]`` of the first tokens over all tokens ``[B, T, D]``."""
        batch, tokens, dim = x.shape
        qkv = self.query_key_value(x).reshape(batch, tokens, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, T, D/heads] each
        out = F.scaled_dot_product_attention(query[:, :, :first], key, value)
        return self.project(out.transpose(1, 2).reshape(batch, first, dim))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, first: int | None = None) -> Tensor:
        """Maps tokens ``[B, T, D]`` to the outputs ``[B, first, D]`` of the first of them; by default, of all."""
        first = x.shape[1] if first is None else first
        x = x[:, :first] + self.attend(self.norm_attention(x), first)
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class SqueezeExcite(nn.Module):
    """Scales each channel of a vector by a gate that is predicted from all channels."""

    def __init__(self, dim: int) -> None:
        """Builds two linear layers of equal width."""
        super().__init__()
        self.squeeze = nn.Linear(dim, dim)
        self.excite = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, D]`` to ``[B, D]``."""
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(x))))


class Encoder(nn.Module):
    """Maps images to vectors: backbones, three cross-fusion levels, token embedding, fusion transformer."""

    def __init__(self, config: EncoderConfig) -> None:
        """Builds the encoder that ``config`` describes, with fresh weights."""
        super().__init__()
        self.config = config
        self.out_features = dim = config.embed_dim
        self.image = ImageBackbone(config)
        self.landmarks = LandmarkBackbone(config)
        norm = config.embed_norm
        self.landmark_last = conv(config.landmark_last, config.level_channels[2], 3, norm=norm)
        self.reduce = nn.ModuleList(
            conv(channels, width, 3, 2, norm=norm)
            for channels, width in zip(config.image_channels, config.level_channels, strict=True)
        )
        self.levels = nn.ModuleList(CrossFusionLevel(config, i) for i in range(3))
        c1, c2, c3 = config.level_channels
        self.embed = nn.ModuleList(
            [
                nn.Sequential(conv(c1, dim, 3, 2, norm=norm), conv(dim, dim, 3, 2, norm=norm)),
                conv(c2, dim, 3, 2, norm=norm),
                conv(c3, dim, 1, norm=norm),
            ]
        )
        self.num_tokens = tokens = 3 * config.level_sizes[2] ** 2
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.empty(1, tokens + 1, dim))
        # Wide enough to tell places apart from the first step on: where an eyebrow is matters as much as its shape.
        nn.init.trunc_normal_(self.position, std=1.0)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        self.fusion = nn.ModuleList(
            FusionBlock(dim, config.fusion_heads, config.mlp_ratio, gelu=config.gelu)
            for _ in range(config.fusion_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.gate = SqueezeExcite(dim)

    def tokens(self, images: Tensor) -> list[Tensor]:
        """Maps normalized images ``[B, 3, S, S]`` to the tokens of the three levels, ``[B, T/3, D]`` each."""
        step = self.config.subsample
        x = images[:, :, ::step, ::step]  # exactly nearest interpolation by 1/step
        landmarks = self.landmarks(x)  # three maps, S/4, S/8, S/16
        landmarks[2] = self.landmark_last(landmarks[2])
        tokens = []
        for i, image in enumerate(self.image(x)):
            fused = self.levels[i](landmarks[i], self.reduce[i](image))  # [B, C, H, W]
            tokens.append(self.embed[i](fused).flatten(2).transpose(1, 2))  # [B, (S/16)^2, D]
        return tokens

    def fuse(self, tokens: list[Tensor]) -> Tensor:
        """Maps the tokens of the levels, ``[B, T/3, D]`` each, to vectors ``[B, D]``."""
        batch = tokens[0].shape[0]
        first, *places = torch.split(self.position, [1, *(level.shape[1] for level in tokens)], dim=1)
        cls = (self.class_token + first).expand(batch, -1, -1)  # [B, 1, D]
        # Positions are added before the levels are joined: levels with quantization scales of their own would be
        # joined in float.
        sequence = torch.cat([cls, *(level + place for level, place in zip(tokens, places, strict=True))], dim=1)
        for block in self.fusion[:-1]:
            sequence = block(sequence)  # [B, T + 1, D]
        # Only the class token is read, so the last block computes no other: that halves the transformer's work.
        sequence = self.fusion[-1](sequence, first=1)  # [B, 1, D]
        out: Tensor = self.gate(self.norm(sequence).squeeze(1))
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, S, S]`` to vectors ``[B, D]``."""
        return self.fuse(self.tokens(images))
