"""The configuration of an encoder, and the presets: POSTER++ and POSTER as published, and a compact encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias, TypeVar

Config = TypeVar("Config", bound="StoredConfig")


@dataclass(frozen=True, kw_only=True)
class StoredConfig:
    """A configuration that a run stores as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[Config], value: Mapping[str, Any]) -> Config:
        """Builds the value from what ``to_json`` returned; lists become tuples, other keys are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in names})


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(StoredConfig):
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
    def all_windows(self) -> tuple[int, ...]:
        """Side of each attention window, in cells."""
        return self.windows

    @property
    def window_maps(self) -> tuple[int, ...]:
        """Side of the map of each attention window, in cells."""
        return self.level_sizes

    @property
    def size_step(self) -> int:
        """Number of pixels that the side of the input is a multiple of."""
        return 16 * self.subsample

    @property
    def out_features(self) -> int:
        """Width of the vector that the encoder returns."""
        return self.embed_dim


@dataclass(frozen=True, kw_only=True)
class CompactConfig(StoredConfig):
    """Widths and depths of a :class:`~arbex.models.compact.CompactEncoder`.

    Attributes:
        image_size: Side of the input in pixels.
        channels: Width of each stage of the image stream; stage i reads a map of 1/2^i of the side of the input.
        residuals: Number of residual convolutions at the beginning of each stage.
        pools: Number of stages, from the first, that end with a max-pool.
        landmark_channels: Widths of the landmark stream at 1/2 and 1/4 of the side of the input.
        heads: Number of attention heads.
        window: Side of the attention window in cells of the map, which has 1/8 of the side of the input.
        attention_scale: Initial weight of the cross-attention's output beside the image stream.
    """

    image_size: int
    channels: tuple[int, ...]
    residuals: tuple[int, ...]
    pools: int
    landmark_channels: tuple[int, int]
    heads: int
    window: int
    attention_scale: float = 0.0

    @property
    def all_windows(self) -> tuple[int, ...]:
        """Side of each attention window, in cells."""
        return (self.window,)

    @property
    def window_maps(self) -> tuple[int, ...]:
        """Side of the map of each attention window, in cells."""
        return (self.image_size // 8,)

    @property
    def size_step(self) -> int:
        """Number of pixels that the side of the input is a multiple of."""
        step: int = 2**self.pools
        return step

    @property
    def out_features(self) -> int:
        """Width of the vector that the encoder returns."""
        return self.channels[-1]

    @property
    def tokens(self) -> int:
        """Number of cells of the last map."""
        side: int = self.image_size // 2**self.pools
        return side * side


@dataclass(frozen=True, kw_only=True)
class PyramidConfig(StoredConfig):
    """Depth and widths of a :class:`~arbex.models.pyramid.PyramidEncoder`, whose backbones are those of POSTER++.

    Attributes:
        image_size: Side of the input in pixels.
        subsample: Stride at which the backbones read the input.
        depth: Number of blocks; the published networks have 4, 6 or 8.
        embed_dim: Width of the widest level, and of the vector that the encoder returns.
        heads: Number of attention heads of every level.
        mlp_ratio: Width of a feed-forward layer relative to its input.
        token_mixing: Whether each block ends with a linear layer over the tokens, as for RAF-DB; not for AffectNet.
        drop_path: Probability in the last block that a sample skips a residual branch in training; it grows from 0.
        freeze_landmarks: Whether the landmark backbone stays in eval mode and has no gradient.
    """

    image_size: int = 224
    subsample: int = 2
    depth: int = 8
    embed_dim: int = 512
    heads: int = 8
    mlp_ratio: int = 2
    token_mixing: bool = True
    drop_path: float = 0.1
    freeze_landmarks: bool = True

    @property
    def tokens(self) -> int:
        """Number of tokens of a stream."""
        return (self.image_size // (16 * self.subsample)) ** 2

    @property
    def all_tokens(self) -> int:
        """Number of tokens of both streams, with a class token each."""
        return 2 * self.tokens + 2

    @property
    def all_windows(self) -> tuple[int, ...]:
        """Attention is global."""
        return ()

    @property
    def window_maps(self) -> tuple[int, ...]:
        """Attention is global."""
        return ()

    @property
    def size_step(self) -> int:
        """Number of pixels that the side of the input is a multiple of."""
        return 16 * self.subsample

    @property
    def out_features(self) -> int:
        """Width of the vector that the encoder returns."""
        return self.embed_dim


AnyEncoderConfig: TypeAlias = EncoderConfig | CompactConfig | PyramidConfig

BASE = EncoderConfig()

POSTER = PyramidConfig()

TINY = CompactConfig(
    image_size=64,
    channels=(24, 48, 96, 192),
    residuals=(0, 0, 0, 1),
    pools=3,
    landmark_channels=(16, 24),
    heads=3,
    window=8,
)

SMALL = CompactConfig(
    image_size=64,
    channels=(24, 48, 96, 192, 384),
    residuals=(0, 0, 0, 1, 1),
    pools=4,
    landmark_channels=(16, 24),
    heads=3,
    window=8,
)

MOBILE = CompactConfig(
    image_size=112,
    channels=(24, 64, 128, 192, 320),
    residuals=(0, 0, 0, 1, 1),
    pools=4,
    landmark_channels=(12, 24),
    heads=4,
    window=14,
)

PRESETS: dict[str, AnyEncoderConfig] = {
    "tiny": TINY,
    "small": SMALL,
    "mobile": MOBILE,
    "base": BASE,
    "poster-v1": POSTER,
}
"""Configuration of each preset by its name."""


def read_encoder_config(value: Mapping[str, Any]) -> AnyEncoderConfig:
    """Builds the configuration of an encoder, of any kind, from what its ``to_json`` returned."""
    if "token_mixing" in value:
        return PyramidConfig.from_json(value)
    return CompactConfig.from_json(value) if "pools" in value else EncoderConfig.from_json(value)
