"""The network: two backbones, window cross-attention, a fusion transformer and the reliability head."""

from arbex.models.classifier import ExpressionClassifier, Output
from arbex.models.encoder import Encoder
from arbex.models.head import LinearHead, ReliabilityHead
from arbex.models.presets import PRESETS, EncoderConfig

__all__ = [
    "PRESETS",
    "Encoder",
    "EncoderConfig",
    "ExpressionClassifier",
    "LinearHead",
    "Output",
    "ReliabilityHead",
]
