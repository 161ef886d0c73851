"""The encoder of preset ``tiny`` with one thing changed, as backbones for ``--backbone``, at 48 pixels.

They show what each part of the encoder buys; ``before`` is the encoder that ``tiny`` had in arbex 0.1, POSTER++ in
small.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn

from arbex.models import PRESETS, CompactConfig, CompactEncoder, Encoder, EncoderConfig
from arbex.models.compact import ImageStage, conv_norm
from benchmarks.networks import SIDE

VARIANTS: Final = ("before", "without-attention", "self-attention", "full-attention", "strides")
"""Names, with hyphens, of the functions below."""


def tiny(**changes: Any) -> CompactEncoder:
    """Returns the encoder of ``tiny`` with another configuration."""
    config = PRESETS["tiny"]
    assert isinstance(config, CompactConfig)
    return CompactEncoder(replace(config, image_size=SIDE, window=SIDE // 8, **changes))


POSTER: Final = EncoderConfig(
    image_size=SIDE,
    subsample=1,
    stem_channels=16,
    image_channels=(16, 32, 64),
    image_depths=(1, 1, 1),
    landmark_channels=(16, 32, 32),
    landmark_expansions=(16, 32, 64),
    landmark_residual_expansions=(16, 32, 64),
    landmark_depths=(1, 1, 1),
    landmark_last=64,
    level_channels=(16, 32, 48),
    level_heads=(1, 2, 3),
    windows=(6, 6, 3),
    mlp_ratio=2,
    layer_scale=1.0,
    drop_path=(0.0, 0.0, 0.0),
    embed_dim=64,
    norm_first=False,
    embed_norm=True,
    prelu=False,
    gelu=False,
    freeze_landmarks=False,
)
"""POSTER++ in small, with norms that fold: what preset ``tiny`` was in arbex 0.1."""


def before() -> nn.Module:
    """Returns POSTER++ in small: three levels of cross-attention, and a transformer whose class token is read."""
    return Encoder(POSTER)


class ImageAlone(nn.Module):
    """Takes the image map as it is."""

    def forward(self, landmarks: Tensor, image: Tensor) -> Tensor:
        """Returns the image map."""
        return image


def without_attention() -> nn.Module:
    """Returns the image stream alone."""
    encoder = tiny()
    encoder.landmarks, encoder.attention = nn.Identity(), ImageAlone()  # type: ignore[assignment]
    return encoder


class SelfAttention(nn.Module):
    """Asks with the image map itself, through a convolution, in place of the landmark map."""

    def __init__(self, encoder: CompactEncoder) -> None:
        """Takes over the attention of an encoder."""
        super().__init__()
        self.attention = encoder.attention
        channels = encoder.config.channels[encoder.FUSED_STAGE - 1]
        self.query = conv_norm(channels, channels, 1)

    def forward(self, landmarks: Tensor, image: Tensor) -> Tensor:
        """Maps the image map ``[B, C, H, W]`` to ``[B, C, H, W]``."""
        out: Tensor = self.attention(self.query(image), image)
        return out


def self_attention() -> nn.Module:
    """Returns the encoder without a landmark stream."""
    encoder = tiny()
    encoder.landmarks, encoder.attention = nn.Identity(), SelfAttention(encoder)  # type: ignore[assignment]
    return encoder


def full_attention() -> nn.Module:
    """Returns the encoder whose attention starts at full weight beside the image stream."""
    return tiny(attention_scale=1.0)


def strides() -> nn.Module:
    """Returns the encoder whose convolutions have strides in place of max-pools."""
    encoder = tiny()
    for stage in encoder.image:
        assert isinstance(stage, ImageStage)
        if isinstance(stage[-1], nn.MaxPool2d):
            convolution = stage[-2].get_submodule("0")
            assert isinstance(convolution, nn.Conv2d)
            convolution.stride, stage[-1] = (2, 2), nn.Identity()
    return encoder
