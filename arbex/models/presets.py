"""The configuration of an encoder, and the presets: one topology in several widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Widths and depths of an :class:`~arbex.models.encoder.Encoder`.

    Three pyramid levels have 1/4, 1/8 and 1/16 of the side of the backbones' input; tuples have one value per level.

    Attributes:
        image_size: Side of the input in pixels.
        subsample: Stride at which the backbones read the input (2 in POSTER++: 224 becomes 112).
        stem_channels: Width of both backbones' first convolution.
        image_channels: Width of each stage of the image backbone.
        image_depths: Number of residual blocks in each stage.
        landmark_channels: Width of the landmark backbone at each level.
        landmark_expansions: Width of the depthwise convolution that leads to each level.
        landmark_residual_expansions: Width of the depthwise convolutions in the residual units of each level.
        landmark_depths: Number of residual units at each level.
        landmark_last: Width of the landmark backbone's last 1x1 convolution.
        level_channels: Width of the cross-attention at each level; the landmark maps of the first two levels must have
            the same width, since they are the queries and are not projected.
        level_heads: Number of attention heads at each level.
        windows: Side of the attention window at each level, in map cells.
        mlp_ratio: Width of a feed-forward layer relative to its input.
        layer_scale: Initial scale of each channel of a residual branch.
        drop_path: Probability at each level that a sample skips a residual branch in training.
        embed_dim: Width of the fusion transformer and of the vector that the encoder returns.
        fusion_depth: Number of blocks of the fusion transformer.
        fusion_heads: Number of attention heads of the fusion transformer.
        norm_first: Whether the first batch norm of an image block precedes the padded convolution, as in IR50;
            otherwise it follows, so that it can be folded into the convolution.
        embed_norm: Whether a batch norm follows each convolution between the backbones and the transformer. The export
            folds it; a model that starts from random weights does not learn without it.
        prelu: Whether the backbones have PReLUs; otherwise ReLUs, which cost nothing on integer kernels.
        gelu: Whether the feed-forward layers have GELUs; otherwise ReLUs.
        freeze_landmarks: Whether the landmark backbone stays in eval mode and has no gradient.
    """

    image_size: int = 224
    subsample: int = 2
    stem_channels: int = 64
    image_channels: tuple[int, int, int] = (64, 128, 256)
    image_depths: tuple[int, int, int] = (3, 4, 14)
    landmark_channels: tuple[int, int, int] = (64, 128, 128)
    landmark_expansions: tuple[int, int, int] = (128, 256, 512)
    landmark_residual_expansions: tuple[int, int, int] = (128, 256, 256)
    landmark_depths: tuple[int, int, int] = (4, 6, 2)
    landmark_last: int = 512
    level_channels: tuple[int, int, int] = (64, 128, 256)
    level_heads: tuple[int, int, int] = (2, 4, 8)
    windows: tuple[int, int, int] = (28, 14, 7)
    mlp_ratio: int = 4
    layer_scale: float = 1e-5
    drop_path: tuple[float, float, float] = (0.0, 0.125, 0.25)
    embed_dim: int = 768
    fusion_depth: int = 2
    fusion_heads: int = 8
    norm_first: bool = True
    embed_norm: bool = False
    prelu: bool = True
    gelu: bool = True
    freeze_landmarks: bool = True

    @property
    def level_sizes(self) -> tuple[int, int, int]:
        """Side of the map at each level, in cells."""
        side = self.image_size // self.subsample
        return side // 4, side // 8, side // 16

    @property
    def out_features(self) -> int:
        """Width of the vector that the encoder returns."""
        return self.embed_dim

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EncoderConfig:
        """Builds the value from what ``to_json`` returned; lists become tuples."""
        names = {field.name for field in fields(cls)}
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in names}
        return cls(**arguments)


BASE = EncoderConfig()

FOLDABLE = EncoderConfig(
    subsample=1,
    mlp_ratio=2,
    layer_scale=1.0,
    norm_first=False,
    embed_norm=True,
    prelu=False,
    gelu=False,
    freeze_landmarks=False,
)
"""Common part of the small presets: norms that fold into convolutions, and activations that integer kernels have."""

MOBILE = replace(
    FOLDABLE,
    image_size=112,
    stem_channels=12,
    image_channels=(16, 32, 80),
    image_depths=(1, 2, 2),
    landmark_channels=(24, 48, 64),
    landmark_expansions=(48, 96, 128),
    landmark_residual_expansions=(48, 96, 128),
    landmark_depths=(2, 2, 2),
    landmark_last=128,
    level_channels=(24, 48, 80),
    level_heads=(1, 2, 4),
    windows=(14, 14, 7),
    embed_dim=128,
    drop_path=(0.0, 0.05, 0.1),
)

TINY = replace(
    FOLDABLE,
    image_size=64,
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
    windows=(8, 8, 4),
    embed_dim=64,
    drop_path=(0.0, 0.0, 0.0),
)

PRESETS = {"tiny": TINY, "mobile": MOBILE, "base": BASE}
"""Configuration of each preset by its name."""
