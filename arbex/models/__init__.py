"""The network: an encoder of two streams that meet in window cross-attention, and the reliability head."""

from arbex.models.classifier import ExpressionClassifier, Output
from arbex.models.compact import CompactEncoder
from arbex.models.encoder import Encoder
from arbex.models.factory import make_encoder
from arbex.models.head import LinearHead, ReliabilityHead
from arbex.models.presets import BASE, PRESETS, AnyEncoderConfig, CompactConfig, EncoderConfig, PyramidConfig

__all__ = [
    "BASE",
    "PRESETS",
    "AnyEncoderConfig",
    "CompactConfig",
    "CompactEncoder",
    "Encoder",
    "EncoderConfig",
    "ExpressionClassifier",
    "LinearHead",
    "Output",
    "PyramidConfig",
    "ReliabilityHead",
    "make_encoder",
]
