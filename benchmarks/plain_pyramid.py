"""POSTER in plain PyTorch, with the names that its published checkpoints use.

This is the reference for preset ``poster-v1``: tests compare its answers. Nothing is fused or left out; weights that no
answer depends on are present too, as in the checkpoints (arXiv 2204.04083; names and shapes are facts of the published
files). With ``mixing``, it is the form for RAF-DB, without it that for AffectNet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain_poster import ImprovedResidual, MobileFaceNet, Named

TOKENS = 49


class FlatResNet(nn.Module):
    """IR50 with one flat body, without its fourth stage, with the classifier, which is never called."""

    def __init__(self) -> None:
        """Builds stem, blocks and the unused rest."""
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        self.output_layer = nn.Sequential(
            *(nn.BatchNorm2d(512), nn.Dropout(0.0), nn.Flatten(), nn.Linear(25088, 512), nn.BatchNorm1d(512))
        )
        widths = [(64, 64)] * 3 + [(64, 128)] + [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 13
        self.body = nn.Sequential(
            *(ImprovedResidual(a, b, 2 if i in (0, 3, 7) else 1) for i, (a, b) in enumerate(widths))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the map of the third stage."""
        out: Tensor = self.body(self.input_layer(x))
        return out


class Attention(nn.Module):
    """Attention with a query from elsewhere, step by step."""

    def __init__(self, dim: int) -> None:
        """Builds the projections."""
        super().__init__()
        self.kv, self.proj = nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, query: Tensor) -> Tensor:
        """Maps tokens and queries ``[B, T, D]`` to ``[B, T, D]``."""
        batch, tokens, dim = x.shape
        key, value = (
            each.reshape(batch, tokens, 8, dim // 8).transpose(1, 2) for each in self.kv(x).split(dim, dim=-1)
        )
        query = query.reshape(batch, tokens, 8, dim // 8).transpose(1, 2)
        weights = (query * (dim // 8) ** -0.5 @ key.transpose(2, 3)).softmax(-1)
        out: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, dim))
        return out


def feed_forward(dim: int) -> Named:
    """Returns the layers of a feed-forward part."""
    return Named(fc1=nn.Linear(dim, 2 * dim), fc2=nn.Linear(2 * dim, dim))


class Block(nn.Module):
    """Both streams of a level."""

    def __init__(self, dim: int, mixing: bool) -> None:
        """Builds all layers."""
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(4))
        self.attn_img, self.attn_lm = Attention(dim), Attention(dim)
        self.mlp1, self.mlp2 = feed_forward(dim), feed_forward(dim)
        self.conv = nn.Conv1d(2 * TOKENS + 2, 2 * TOKENS + 2, 1) if mixing else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens ``[B, 100, D]`` to ``[B, 100, D]``."""
        image, landmarks = x[:, : TOKENS + 1], x[:, TOKENS + 1 :]
        image_norm, landmarks_norm = self.norm1(image), self.norm1(landmarks)
        new_image = image + self.attn_img(image_norm, landmarks_norm)
        image_norm, landmarks_norm = self.norm3(image), self.norm3(landmarks)
        new_landmarks = landmarks + self.attn_lm(landmarks_norm, image_norm)
        new_image = new_image + run(self.mlp1, self.norm2(new_image))
        new_landmarks = new_landmarks + run(self.mlp2, self.norm4(new_landmarks))
        joined = torch.cat([new_image, new_landmarks], dim=1)
        return joined if self.conv is None else self.conv(joined)


def run(layers: Named, x: Tensor) -> Tensor:
    """Applies a feed-forward part."""
    return layers.fc2(F.gelu(layers.fc1(x)))  # type: ignore[operator, no-any-return]


class PyramidLevelBlock(nn.Module):
    """A block per width, and what leads from narrow to wide."""

    def __init__(self, mixing: bool) -> None:
        """Builds all layers."""
        super().__init__()
        self.block_l, self.block_m, self.block_s = (Block(dim, mixing) for dim in (512, 256, 128))
        self.upsample_m, self.upsample_s = (nn.ConvTranspose1d(100, 100, 2, 2) for _ in range(2))

    def forward(self, x: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps the tokens of all widths to the same shapes."""
        wide, middle, narrow = self.block_l(x[0]), self.block_m(x[1]), self.block_s(x[2])
        middle = self.upsample_s(narrow) + middle
        return wide + self.upsample_m(middle), middle, narrow


class Pyramid(nn.Module):
    """From tokens of both streams to a vector."""

    def __init__(self, depth: int, mixing: bool) -> None:
        """Builds all layers."""
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 512))
        self.pos_embed = nn.Parameter(torch.zeros(1, TOKENS + 1, 512))
        self.downsample_m, self.downsample_s = nn.Conv1d(100, 100, 2, 2), nn.Conv1d(100, 100, 4, 4)
        self.blocks = nn.ModuleList(PyramidLevelBlock(mixing) for _ in range(depth))
        self.norm = nn.LayerNorm(512, eps=1e-6)

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """Maps tokens ``[B, 49, 512]`` of both streams to vectors ``[B, 512]``."""
        image = torch.cat([image.mean(1, keepdim=True), image], dim=1) + self.pos_embed
        x = torch.cat([image, landmarks.mean(1, keepdim=True), landmarks], dim=1)
        levels = x, self.downsample_m(x), self.downsample_s(x)
        for block in self.blocks:
            levels = block(levels)
        out: Tensor = self.norm(levels[0])[:, 0]
        return out


class PlainPyramid(nn.Module):
    """The whole network."""

    def __init__(self, depth: int = 8, classes: int = 7, *, mixing: bool = True) -> None:
        """Builds all layers."""
        super().__init__()
        self.face_landback, self.ir_back = MobileFaceNet(), FlatResNet()
        self.ir_layer = nn.Linear(1024, 512)
        self.pyramid_fuse = Pyramid(depth, mixing)
        self.se_block = Named(linear1=nn.Linear(512, 512), linear2=nn.Linear(512, 512))
        self.head = Named(linear=nn.Linear(512, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalized images ``[B, 3, 224, 224]`` to logits ``[B, N]``."""
        small = F.interpolate(images, size=112)
        landmarks = self.face_landback(small)[2].flatten(2).transpose(1, 2)
        tokens = self.ir_layer(self.ir_back(small).contiguous().view(len(images), TOKENS, 1024))
        vector = self.pyramid_fuse(tokens, landmarks)
        gate = self.se_block.linear2(F.relu(self.se_block.linear1(vector)))  # type: ignore[operator]
        return self.head.linear(vector * torch.sigmoid(gate))  # type: ignore[operator, no-any-return]
