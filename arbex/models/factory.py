"""Building an encoder of any kind from its configuration."""

from __future__ import annotations

from arbex.models.compact import CompactEncoder
from arbex.models.encoder import Encoder
from arbex.models.presets import AnyEncoderConfig, CompactConfig, PyramidConfig
from arbex.models.pyramid import PyramidEncoder


def make_encoder(config: AnyEncoderConfig) -> Encoder | CompactEncoder | PyramidEncoder:
    """Returns the encoder that a configuration describes, with fresh weights."""
    if isinstance(config, PyramidConfig):
        return PyramidEncoder(config)
    return CompactEncoder(config) if isinstance(config, CompactConfig) else Encoder(config)
