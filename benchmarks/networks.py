"""Networks that others would put in place of the small presets, as backbones for ``--backbone``.

Each takes images of 48 pixels, as FER2013 has them, with about as many multiply-adds as the preset in its name, and
keeps the full resolution in its first layer: at this size, that is better for all of them than a stride. The sources
are MobileNetV3 (arXiv 1905.02244) and EfficientNet-Lite (arXiv 1905.11946, without squeeze-and-excitation, with ReLU6).

    arbex train --data fer2013:PATH --backbone benchmarks.networks:plain_mobile --image-size 48 --method poster
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

SIDE: Final = 48
"""Side of the input in pixels for which multiply-adds are counted."""


def rounded(width: float) -> int:
    """Returns a number of channels as a multiple of 8, as MobileNets round it."""
    return max(8, int(width + 4) // 8 * 8)


class Pooled(nn.Module):
    """Layers, and the mean over the map that they end with."""

    def __init__(self, *layers: nn.Module) -> None:
        """Takes the layers."""
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, S, S]`` to vectors ``[B, F]``."""
        vectors: Tensor = self.layers(images).mean((2, 3))
        return vectors


def plain(widths: tuple[int, ...]) -> nn.Module:
    """Returns blocks of 3x3 convolution, batch norm, ReLU and max-pool: thirty lines that anybody would write."""
    layers: list[nn.Module] = []
    for before, width in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return Pooled(*layers)


class SqueezeExcite(nn.Module):
    """Gates of MobileNetV3: each channel is scaled by what the mean over the map says."""

    def __init__(self, channels: int) -> None:
        """Builds two 1x1 convolutions with a quarter of the channels between them."""
        super().__init__()
        self.squeeze = nn.Conv2d(channels, rounded(channels / 4), 1)
        self.excite = nn.Conv2d(rounded(channels / 4), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, C, H, W]`` to ``[B, C, H, W]``."""
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, gates if asked for, and projection."""

    def __init__(
        self, before: int, width: int, *, expansion: float, kernel: int, stride: int, gates: bool, act: type[nn.Module]
    ) -> None:
        """Builds the block from ``before`` to ``width`` channels."""
        super().__init__()
        inner = rounded(before * expansion)
        layers: list[nn.Module] = []
        if inner != before:
            layers += [nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner), act()]
        layers.append(nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False))
        layers += [nn.BatchNorm2d(inner), act()]
        if gates:
            layers.append(SqueezeExcite(inner))
        layers += [nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and before == width

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[B, C_in, H, W]`` to ``[B, C, H/s, W/s]``."""
        out: Tensor = self.layers(x)
        return x + out if self.shortcut else out


Stage = tuple[int, float, int, int, int, bool, type[nn.Module]]
"""Width, expansion, kernel, number of blocks, stride of the first, whether it has gates, and activation."""

MOBILENET: Final[tuple[Stage, ...]] = (
    (16, 1, 3, 1, 2, True, nn.ReLU),
    (24, 4, 3, 2, 2, False, nn.ReLU),
    (40, 4, 5, 3, 2, True, nn.Hardswish),
    (48, 3, 5, 2, 1, True, nn.Hardswish),
    (96, 6, 5, 3, 2, True, nn.Hardswish),
)
"""MobileNetV3-Small; its first convolution keeps the resolution."""

EFFICIENTNET: Final[tuple[Stage, ...]] = (
    (16, 1, 3, 1, 1, False, nn.ReLU6),
    (24, 6, 3, 2, 2, False, nn.ReLU6),
    (40, 6, 5, 2, 2, False, nn.ReLU6),
    (80, 6, 3, 3, 2, False, nn.ReLU6),
    (112, 6, 5, 3, 1, False, nn.ReLU6),
    (192, 6, 5, 4, 2, False, nn.ReLU6),
)
"""EfficientNet-Lite0 without its last stage; its first convolution keeps the resolution."""


def inverted(stages: Iterable[Stage], width: float, *, stem: int, last: int, act: type[nn.Module]) -> nn.Module:
    """Returns a network of inverted residuals, all of whose widths are multiplied by ``width``."""
    before = rounded(stem * width)
    layers: list[nn.Module] = [nn.Conv2d(3, before, 3, padding=1, bias=False), nn.BatchNorm2d(before), act()]
    for channels, expansion, kernel, count, first, gates, activation in stages:
        for i in range(count):
            after = rounded(channels * width)
            layers.append(
                InvertedResidual(
                    before,
                    after,
                    expansion=expansion,
                    kernel=kernel,
                    stride=first if i == 0 else 1,
                    gates=gates,
                    act=activation,
                )
            )
            before = after
    after = rounded(last * width)
    return Pooled(*layers, nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), act())


mobilenet = partial(inverted, MOBILENET, stem=16, last=576, act=nn.Hardswish)
efficientnet = partial(inverted, EFFICIENTNET, stem=32, last=1280, act=nn.ReLU6)


NETWORKS: Final = tuple(
    f"{kind}-{size}" for size in ("tiny", "small", "mobile") for kind in ("plain", "mobilenet", "efficientnet")
)
"""Names, with hyphens, of the functions below."""


def plain_tiny() -> nn.Module:
    """Returns a plain network of the size of preset ``tiny``."""
    return plain((28, 56, 112, 192))


def plain_small() -> nn.Module:
    """Returns a plain network of the size of preset ``small``."""
    return plain((32, 64, 128, 256))


def plain_mobile() -> nn.Module:
    """Returns a plain network of the size of preset ``mobile``."""
    return plain((40, 72, 144, 288))


def mobilenet_tiny() -> nn.Module:
    """Returns a MobileNetV3 of the size of preset ``tiny``."""
    return mobilenet(1.7)


def mobilenet_small() -> nn.Module:
    """Returns a MobileNetV3 of the size of preset ``small``."""
    return mobilenet(1.95)


def mobilenet_mobile() -> nn.Module:
    """Returns a MobileNetV3 of the size of preset ``mobile``."""
    return mobilenet(2.25)


def efficientnet_tiny() -> nn.Module:
    """Returns an EfficientNet-Lite of the size of preset ``tiny``."""
    return efficientnet(0.57)


def efficientnet_small() -> nn.Module:
    """Returns an EfficientNet-Lite of the size of preset ``small``."""
    return efficientnet(0.74)


def efficientnet_mobile() -> nn.Module:
    """Returns an EfficientNet-Lite of the size of preset ``mobile``."""
    return efficientnet(0.83)
