"""Building an encoder of either kind from its configuration."""

from __future__ import annotations

from arbex.models.compact import CompactEncoder
from arbex.models.encoder import Encoder
from arbex.models.presets import CompactConfig, EncoderConfig


def make_encoder(config: EncoderConfig | CompactConfig) -> Encoder | CompactEncoder:
    """Returns the encoder that a configuration describes, with fresh weights."""
    return CompactEncoder(config) if isinstance(config, CompactConfig) else Encoder(config)
