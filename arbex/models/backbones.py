"""The two convolutional backbones: IR50 for the image, MobileFaceNet for the landmarks.

Sources: the improved residual network of ArcFace (arXiv 1801.07698) and MobileFaceNets (arXiv 1804.07573), in the form
that POSTER++ (arXiv 2301.12149) uses. Each returns the feature maps of three levels, without a classifier or a landmark
regressor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arbex.models.presets import EncoderConfig


def activation(channels: int, prelu: bool) -> nn.Module:
    """Returns a PReLU with one slope per channel, or a ReLU."""
    return nn.PReLU(channels) if prelu else nn.ReLU(inplace=True)


class ImageBlock(nn.Module):
    """Improved residual block: two 3x3 convolutions, the second one strided, and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, *, norm_first: bool, prelu: bool) -> None:
        """Builds a block from ``[B, channels_in, H, W]`` to ``[B, channels, H/stride, W/stride]``."""
        super().__init__()
        first = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        before = [nn.BatchNorm2d(channels_in), first] if norm_first else [first, nn.BatchNorm2d(channels)]
        self.residual = nn.Sequential(
            *before,
            activation(channels, prelu),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.stride = stride
        self.shortcut: nn.Module | None = None
        if channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, C_in, H, W]`` to ``[B, C, H/s, W/s]``."""
        # A max-pool with a 1x1 window only skips pixels; unlike it, every exporter supports the slice.
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.residual(x) + shortcut
        return out


class ImageBackbone(nn.Module):
    """IR50 without its last stage: maps at 1/2, 1/4 and 1/8 of the input."""

    def __init__(self, config: EncoderConfig) -> None:
        """Builds the stem and the three stages that ``config`` describes."""
        super().__init__()
        width = config.stem_channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            activation(width, config.prelu),
        )
        self.stages = nn.ModuleList()
        for channels, depth in zip(config.image_channels, config.image_depths, strict=True):
            blocks = []
            for i in range(depth):
                stride = 2 if i == 0 else 1
                blocks.append(ImageBlock(width, channels, stride, norm_first=config.norm_first, prelu=config.prelu))
                width = channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps ``[B, 3, S, S]`` to maps of side S/2, S/4 and S/8."""
        x = self.stem(x)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm, activation."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, prelu: bool
    ) -> None:
        """Builds the three layers; with a padding of ``kernel // 2`` pixels, stride 1 keeps the size."""
        super().__init__(
            nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
            activation(channels, prelu),
        )


class DepthwiseUnit(nn.Module):
    """MobileFaceNet unit: 1x1 expansion, 3x3 depthwise convolution, 1x1 projection without activation."""

    def __init__(
        self, channels_in: int, channels: int, expansion: int, stride: int, *, prelu: bool, residual: bool
    ) -> None:
        """Builds a unit from ``channels_in`` to ``channels``; the depthwise convolution has ``expansion`` channels."""
        super().__init__()
        self.expand = ConvNormAct(channels_in, expansion, 1, prelu=prelu)
        self.depthwise = ConvNormAct(expansion, expansion, 3, stride, expansion, prelu=prelu)
        self.project = nn.Sequential(nn.Conv2d(expansion, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, C_in, H, W]`` to ``[B, C, H/s, W/s]``."""
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class LandmarkBackbone(nn.Module):
    """MobileFaceNet up to its last 1x1 convolution: maps at 1/4, 1/8 and 1/16 of the input."""

    def __init__(self, config: EncoderConfig) -> None:
        """Builds the stem and the three levels that ``config`` describes."""
        super().__init__()
        prelu, width = config.prelu, config.stem_channels
        self.stem = nn.Sequential(
            ConvNormAct(3, width, 3, 2, prelu=prelu), ConvNormAct(width, width, 3, groups=width, prelu=prelu)
        )
        self.levels = nn.ModuleList()
        for i, channels in enumerate(config.landmark_channels):
            units = [DepthwiseUnit(width, channels, config.landmark_expansions[i], 2, prelu=prelu, residual=False)]
            inside = config.landmark_residual_expansions[i]
            units += [
                DepthwiseUnit(channels, channels, inside, 1, prelu=prelu, residual=True)
                for _ in range(config.landmark_depths[i])
            ]
            self.levels.append(nn.Sequential(*units))
            width = channels
        self.last = ConvNormAct(width, config.landmark_last, 1, prelu=prelu)
        self.frozen = config.freeze_landmarks
        self.requires_grad_(not self.frozen)

    def train(self, mode: bool = True) -> LandmarkBackbone:
        """Sets the mode; a frozen backbone stays in eval mode, so that its batch norms keep their statistics."""
        return super().train(mode and not self.frozen)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps ``[B, 3, S, S]`` to maps of side S/4, S/8 and S/16."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.stem(x)
            levels = []
            for level in self.levels:
                x = level(x)
                levels.append(x)
            levels[-1] = self.last(levels[-1])
        return levels
