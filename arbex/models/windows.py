"""Windows of a map, for attention inside each of them (section 3.2 of ARBEx).

In shapes, B is the batch size, C the number of channels, H = W the side of a map, w the side of a window and n the
number of windows per map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def partition(x: Tensor, window: int) -> Tensor:
    """Cuts ``[B, H, W, C]`` into non-overlapping windows ``[B*n, w*w, C]``."""
    batch, height, width, channels = x.shape
    w = window
    if height == w:
        return x.reshape(batch, w * w, channels)
    x = x.reshape(batch, height // w, w, width // w, w, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, w * w, channels)


def merge(windows: Tensor, window: int, side: int) -> Tensor:
    """Puts windows ``[B*n, w*w, C]`` back into ``[B, side, side, C]``."""
    w, channels = window, windows.shape[-1]
    if side == w:
        return windows.reshape(-1, side, side, channels)
    x = windows.reshape(-1, side // w, side // w, w, w, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, side, side, channels)


def pooled_queries(landmarks: Tensor, window: int) -> Tensor:
    """Maps ``[B, C, H, W]`` to queries ``[B*n, w*w, C]``: pooled to one window, repeated for each window."""
    ratio = landmarks.shape[-1] // window
    if ratio == 1:
        return landmarks.flatten(2).transpose(1, 2)
    query = F.avg_pool2d(landmarks, ratio).flatten(2).transpose(1, 2)  # [B, w*w, C]
    copies = torch.stack([query] * ratio**2, dim=1)  # [B, n, w*w, C]; phones have no kernel for a repeat
    return copies.flatten(0, 1)


class RelativePositionBias(nn.Module):
    """A learned bias for each head and each offset between two cells of a window."""

    index: Tensor

    def __init__(self, window: int, heads: int) -> None:
        """Builds the table ``[(2w - 1)^2, heads]`` of all offsets."""
        super().__init__()
        self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        cell = torch.arange(window)
        row, column = (axis.flatten() for axis in torch.meshgrid(cell, cell, indexing="ij"))  # [w*w] each
        down = row[:, None] - row[None, :] + window - 1  # [w*w, w*w], 0 .. 2w-2
        right = column[:, None] - column[None, :] + window - 1
        self.register_buffer("index", down * (2 * window - 1) + right, persistent=False)

    def forward(self) -> Tensor:
        """Returns the bias ``[1, heads, w*w, w*w]``."""
        return self.table[self.index].permute(2, 0, 1).unsqueeze(0)
