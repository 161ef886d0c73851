"""POSTER++ in plain PyTorch, with the names that its published checkpoints use.

This is the reference for preset ``base``: tests compare its answers, benchmarks its speed. Nothing is fused, sliced or
left out; weights that no answer depends on are present too, as in the checkpoints (arXiv 2301.12149; names and shapes
are facts of the published files).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Named(nn.Module):
    """A module made of named parts and parameters."""

    def __init__(self, **parts: nn.Module | nn.Parameter) -> None:
        """Registers the parts in order."""
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class ImprovedResidual(nn.Module):
    """Block of IR50."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Builds both branches."""
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Adds both branches."""
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


def body(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """Returns a stage of IR50."""
    blocks = [ImprovedResidual(inputs if i == 0 else outputs, outputs, 2 if i == 0 else 1) for i in range(depth)]
    return nn.Sequential(*blocks)


class ImprovedResNet(nn.Module):
    """IR50 without its fourth stage, with the classifier, which is never called."""

    def __init__(self) -> None:
        """Builds stem, stages and the unused rest."""
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        self.output_layer = nn.Sequential(
            *(nn.BatchNorm2d(512), nn.Dropout(0.0), nn.Flatten(), nn.Linear(25088, 512), nn.BatchNorm1d(512))
        )
        self.body1, self.body2, self.body3 = body(64, 64, 3), body(64, 128, 4), body(128, 256, 14)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the maps of all stages."""
        one = self.body1(self.input_layer(F.interpolate(image, size=112)))
        two = self.body2(one)
        return one, two, self.body3(two)


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, prelu: bool = True) -> nn.Sequential:
    """Returns a convolution, a norm and, unless disabled, an activation."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers["bn"] = nn.BatchNorm2d(outputs)
    if prelu:
        layers["prelu"] = nn.PReLU(outputs)
    return nn.Sequential(layers)


class DepthWise(nn.Module):
    """Inverted bottleneck of MobileFaceNet."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int) -> None:
        """Builds the three convolutions."""
        super().__init__()
        self.conv = unit(inputs, groups, 1)
        self.conv_dw = unit(groups, groups, 3, stride, groups)
        self.project = unit(groups, outputs, 1, prelu=False)
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Adds the input where the size stays."""
        out: Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.residual else out


def residual(channels: int, groups: int, depth: int) -> Named:
    """Returns a sequence of bottlenecks that keep the size."""
    return Named(model=nn.Sequential(*(DepthWise(channels, channels, groups, 1) for _ in range(depth))))


class MobileFaceNet(nn.Module):
    """The landmark network, with the regressor, whose answer is never used."""

    def __init__(self) -> None:
        """Builds all layers."""
        super().__init__()
        self.conv1 = unit(3, 64, 3, 2)
        self.conv2_dw = unit(64, 64, 3, 1, 64)
        self.conv_23, self.conv_3 = DepthWise(64, 64, 128, 2), residual(64, 128, 4)
        self.conv_34, self.conv_4 = DepthWise(64, 128, 256, 2), residual(128, 256, 6)
        self.conv_45, self.conv_5 = DepthWise(128, 128, 512, 2), residual(128, 256, 2)
        self.conv_6_sep = unit(128, 512, 1)
        pool = nn.Sequential(OrderedDict(conv=nn.Conv2d(512, 512, 7, groups=512, bias=False), bn=nn.BatchNorm2d(512)))
        self.output_layer = Named(conv_6_dw=pool, linear=nn.Linear(512, 136, bias=False), bn=nn.BatchNorm1d(136))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns three maps; the landmarks are computed too, as in the published network."""
        one = self.conv_3.model(self.conv_23(self.conv2_dw(self.conv1(x))))  # type: ignore[operator]
        two = self.conv_4.model(self.conv_34(one))  # type: ignore[operator]
        three = self.conv_6_sep(self.conv_5.model(self.conv_45(two)))  # type: ignore[operator]
        last = self.output_layer
        last.bn(last.linear(last.conv_6_dw(three).flatten(1)))  # type: ignore[operator]
        return one, two, three


class WindowAttention(nn.Module):
    """Cross-attention in one window, step by step."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        """Builds projections, table and index."""
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(0.02 * torch.randn((2 * window - 1) ** 2, heads))
        cells = [(row, column) for row in range(window) for column in range(window)]
        index = [
            [(a[0] - b[0] + window - 1) * (2 * window - 1) + a[1] - b[1] + window - 1 for b in cells] for a in cells
        ]
        self.register_buffer("relative_position_index", torch.tensor(index))
        self.qkv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, landmarks: Tensor) -> Tensor:
        """Maps image tokens and landmark tokens ``[B, T, C]`` to ``[B, T, C]``."""
        batch, tokens, dim = x.shape
        width = dim // self.heads
        both = self.qkv(x)
        key = both[..., :dim].reshape(batch, tokens, self.heads, width).transpose(1, 2)
        value = both[..., dim:].reshape(batch, tokens, self.heads, width).transpose(1, 2)
        query = landmarks.reshape(batch, tokens, self.heads, width).transpose(1, 2) * width**-0.5
        scores = query @ key.transpose(2, 3)
        index: Tensor = self.relative_position_index  # type: ignore[assignment]
        bias = self.relative_position_bias_table[index.flatten()].reshape(tokens, tokens, self.heads)
        weights = (scores + bias.permute(2, 0, 1).unsqueeze(0)).softmax(-1)
        out: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))
        return out


class Mlp(nn.Module):
    """Two layers with an exact GELU."""

    def __init__(self, dim: int) -> None:
        """Builds them."""
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[..., C]`` to ``[..., C]``."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class FeedForward(nn.Module):
    """What follows a window's attention. Stochastic depth drops whole branches in training."""

    def __init__(self, dim: int, drop: float) -> None:
        """Builds norm, layers and scales."""
        super().__init__()
        self.gamma1 = nn.Parameter(torch.full((dim,), 1e-5))
        self.gamma2 = nn.Parameter(torch.full((dim,), 1e-5))
        self.mlp = Mlp(dim)
        self.norm = nn.LayerNorm(dim)
        self.drop = drop

    def dropped(self, x: Tensor) -> Tensor:
        """Drops samples in training."""
        if not self.training or not self.drop:
            return x
        keep = (torch.rand(len(x), 1, 1, 1) >= self.drop).to(x)
        return x * keep / (1 - self.drop)

    def forward(self, attended: Tensor, shortcut: Tensor) -> Tensor:
        """Adds both branches to the normalized map ``[B, H, W, C]``."""
        x = shortcut + self.dropped(self.gamma1 * attended.reshape(shortcut.shape))
        return x + self.dropped(self.gamma2 * self.mlp(self.norm(x)))


class Block(nn.Module):
    """Transformer block, with a convolution that is never called."""

    def __init__(self, dim: int, tokens: int, heads: int) -> None:
        """Builds it."""
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.conv = nn.Conv1d(tokens, tokens, 1)
        self.attn = Named(qkv=nn.Linear(dim, 3 * dim), proj=nn.Linear(dim, dim))
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens to tokens."""
        batch, tokens, dim = x.shape
        parts = self.attn.qkv(self.norm1(x)).chunk(3, -1)  # type: ignore[operator]
        query, key, value = (p.reshape(batch, tokens, self.heads, -1).transpose(1, 2) for p in parts)
        weights = (query @ key.transpose(2, 3) * (dim // self.heads) ** -0.5).softmax(-1)
        x = x + self.attn.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[operator]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VisionTransformer(nn.Module):
    """Fusion of 147 tokens, gate and classifier; the last five layers of the list are never called."""

    def __init__(self, classes: int, dim: int = 768, tokens: int = 148) -> None:
        """Builds all layers."""
        super().__init__()
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.se_block = Named(linear1=nn.Linear(dim, dim), linear2=nn.Linear(dim, dim))
        self.head = Named(linear=nn.Linear(dim, classes))
        self.blocks = nn.Sequential(*(Block(dim, tokens, 8) for _ in range(2)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.patch_embed = Named(proj=nn.Conv2d(256, dim, 1))
        self.eca_block = Named(conv=nn.Conv1d(1, 1, 5, padding=2, bias=False))
        self.CON1 = nn.Conv2d(256, dim, 1, bias=False)
        self.IRLinear1, self.IRLinear2 = nn.Linear(1024, dim), nn.Linear(dim, 512)

    def encode(self, tokens: Tensor) -> Tensor:
        """Maps tokens ``[B, 147, 768]`` to vectors ``[B, 768]``."""
        x = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1) + self.pos_embed
        vector: Tensor = self.norm(self.blocks(x))[:, 0]
        gate = torch.sigmoid(self.se_block.linear2(torch.relu(self.se_block.linear1(vector))))  # type: ignore[operator]
        return vector * gate


class PlainPoster(nn.Module):
    """Images ``[B, 3, 224, 224]`` to logits ``[B, N]``."""

    def __init__(self, classes: int = 7) -> None:
        """Builds the network with random weights; the landmark network takes no gradient."""
        super().__init__()
        self.face_landback = MobileFaceNet().requires_grad_(False)
        self.VIT = VisionTransformer(classes)
        self.ir_back = ImprovedResNet()
        self.attn1, self.attn2 = WindowAttention(64, 2, 28), WindowAttention(128, 4, 14)
        self.attn3 = WindowAttention(256, 8, 7)
        self.window1, self.window2 = Named(norm=nn.LayerNorm(64)), Named(norm=nn.LayerNorm(128))
        self.window3 = Named(norm=nn.LayerNorm(256))
        self.conv1, self.conv2 = nn.Conv2d(64, 64, 3, 2, 1), nn.Conv2d(128, 128, 3, 2, 1)
        self.conv3 = nn.Conv2d(256, 256, 3, 2, 1)
        self.ffn1, self.ffn2, self.ffn3 = FeedForward(64, 0.0), FeedForward(128, 0.125), FeedForward(256, 0.25)
        self.last_face_conv = nn.Conv2d(512, 256, 3, padding=1)
        self.embed_q = nn.Sequential(nn.Conv2d(64, 768, 3, 2, 1), nn.Conv2d(768, 768, 3, 2, 1))
        self.embed_k = nn.Sequential(nn.Conv2d(128, 768, 3, 2, 1))
        self.embed_v = Named(proj=nn.Conv2d(256, 768, 1))

    def level(self, number: int, landmarks: Tensor, image: Tensor) -> Tensor:
        """Fuses the maps of a level and returns tokens ``[B, 49, 768]``."""
        attention, norm = getattr(self, f"attn{number}"), getattr(self, f"window{number}").norm
        shortcut = norm(getattr(self, f"conv{number}")(image).permute(0, 2, 3, 1))
        attended = attention(shortcut.flatten(1, 2), landmarks.permute(0, 2, 3, 1).flatten(1, 2))
        fused = getattr(self, f"ffn{number}")(attended, shortcut).permute(0, 3, 1, 2)
        embed = (self.embed_q, self.embed_k, self.embed_v.proj)[number - 1]
        tokens: Tensor = embed(fused).flatten(2).transpose(1, 2)  # type: ignore[operator]
        return tokens

    def encode(self, image: Tensor) -> Tensor:
        """Maps images to the vector before the classifier ``[B, 768]``."""
        first, second, third = self.face_landback(F.interpolate(image, size=112))
        landmarks = (first, second, self.last_face_conv(third))
        maps = self.ir_back(image)
        tokens = [self.level(i + 1, landmarks[i], maps[i]) for i in range(3)]
        return self.VIT.encode(torch.cat(tokens, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Maps images to logits."""
        logits: Tensor = self.VIT.head.linear(self.encode(image))  # type: ignore[operator]
        return logits
