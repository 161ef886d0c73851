"""The encoder of the small presets: two streams of convolutions that meet in window cross-attention.

It keeps what makes the family, the landmark stream that asks and the image stream that answers (section 3.2 of ARBEx),
and leaves out what POSTER++ needs pretrained weights for (docs/decisions/0027). Every norm follows a convolution, so
that the export folds it, and every activation is a ReLU. In shapes, B is the batch size, S the side of the input, C the
number of channels, w the side of a window, n the number of windows per map, and D the width of the vector.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from arbex.models.backbones import ConvNormAct, DepthwiseUnit
from arbex.models.presets import CompactConfig
from arbex.models.windows import RelativePositionBias, merge, partition, pooled_queries


def conv_norm(channels_in: int, channels: int, kernel: int) -> nn.Sequential:
    """Returns a convolution that keeps the size, followed by a batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(channels)
    )


class ResidualConv(nn.Module):
    """One 3x3 convolution with a shortcut around it."""

    def __init__(self, channels: int) -> None:
        """Builds the convolution."""
        super().__init__()
        self.conv = conv_norm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, C, H, W]`` to ``[B, C, H, W]``."""
        return F.relu(x + self.conv(x))


class ImageStage(nn.Sequential):
    """Residual convolutions, a convolution to the width of the stage, and a max-pool that halves the map."""

    def __init__(self, channels_in: int, channels: int, *, residuals: int, pool: bool) -> None:
        """Builds the stage; the residual convolutions have the width that comes in."""
        super().__init__(
            *(ResidualConv(channels_in) for _ in range(residuals)),
            ConvNormAct(channels_in, channels, 3, prelu=False),
            *([nn.MaxPool2d(2)] if pool else []),
        )


class LandmarkStream(nn.Sequential):
    """Depthwise units that lead to a map of S/8: a narrow second look at the same image."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        """Builds the stream; ``widths`` are those at S/2 and S/4, and ``channels`` that of its map."""
        first, second = widths
        super().__init__(
            ConvNormAct(3, first, 3, 2, prelu=False),
            DepthwiseUnit(first, second, 2 * first, 2, prelu=False, residual=False),
            DepthwiseUnit(second, channels, 2 * second, 2, prelu=False, residual=False),
        )


class WindowCrossAttention(nn.Module):
    """Adds to the image map what the landmark map asks of it, inside windows.

    The landmark map is the query, without a projection; a convolution maps the image to keys and values.
    """

    def __init__(self, channels: int, heads: int, window: int, scale: float) -> None:
        """Builds the projections; ``scale`` is the initial weight of what is added."""
        super().__init__()
        self.heads, self.window = heads, window
        self.key_value = conv_norm(channels, 2 * channels, 1)
        self.position = RelativePositionBias(window, heads)
        self.project = conv_norm(channels, channels, 1)
        norm = self.project[1]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.constant_(norm.weight, scale)

    def split(self, tokens: Tensor) -> Tensor:
        """Maps tokens ``[B*n, w*w, C]`` to ``[B*n, heads, w*w, C/heads]``."""
        return tokens.reshape(tokens.shape[0], tokens.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, landmarks: Tensor, image: Tensor) -> Tensor:
        """Maps landmark and image maps, both ``[B, C, H, W]``, to ``[B, C, H, W]``."""
        pairs = partition(self.key_value(image).permute(0, 2, 3, 1), self.window)  # [B*n, w*w, 2C]
        key, value = pairs.chunk(2, dim=-1)
        query = pooled_queries(landmarks, self.window)  # [B*n, w*w, C]
        out = F.scaled_dot_product_attention(
            self.split(query), self.split(key), self.split(value), attn_mask=self.position()
        )
        attended = merge(out.transpose(1, 2).flatten(2), self.window, image.shape[-1])  # [B, H, W, C]
        added: Tensor = image + self.project(attended.permute(0, 3, 1, 2))
        return added


class CompactEncoder(nn.Module):
    """Maps images to vectors: image stages down to S/8, cross-attention with the landmark stream, further stages."""

    FUSED_STAGE = 3
    """Number of image stages before the cross-attention; their max-pools lead to S/8, the map of the landmarks."""

    def __init__(self, config: CompactConfig) -> None:
        """Builds the encoder that ``config`` describes, with fresh weights."""
        super().__init__()
        self.config = config
        self.out_features = config.out_features
        stages, width = [], 3
        for i, (channels, residuals) in enumerate(zip(config.channels, config.residuals, strict=True)):
            stages.append(ImageStage(width, channels, residuals=residuals, pool=i < config.pools))
            width = channels
        self.image = nn.ModuleList(stages)
        fused = config.channels[self.FUSED_STAGE - 1]
        self.landmarks = LandmarkStream(config.landmark_channels, fused)
        self.attention = WindowCrossAttention(fused, config.heads, config.window, config.attention_scale)
        self.num_tokens = config.tokens

    def maps(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, S, S]`` to the last map ``[B, D, H, W]``."""
        x: Tensor = images
        for stage in self.image[: self.FUSED_STAGE]:
            x = stage(x)
        x = self.attention(self.landmarks(images), x)
        for stage in self.image[self.FUSED_STAGE :]:
            x = stage(x)
        return x

    def tokens(self, images: Tensor) -> list[Tensor]:
        """Maps normalized images ``[B, 3, S, S]`` to the cells of the last map, one tensor ``[B, H*W, D]``."""
        return [self.maps(images).flatten(2).transpose(1, 2)]

    def fuse(self, tokens: list[Tensor]) -> Tensor:
        """Maps what ``tokens`` returned to vectors ``[B, D]``."""
        return tokens[0].mean(1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, S, S]`` to vectors ``[B, D]``."""
        return self.maps(images).mean((2, 3))
