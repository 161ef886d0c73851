"""Deep supervision: in training, a classifier on the encoder's tokens is added to the model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from arbex.models import CompactEncoder, Encoder, ExpressionClassifier
from arbex.models.distributions import log_softmax
from arbex.models.head import Balance


class Supervised(NamedTuple):
    """Outputs for a training batch.

    Attributes:
        balance: Output of the model's head.
        tokens: Log-probabilities of the classifier on tokens [B, N], or None without one.
        maps: The encoder's last feature map as tokens [B, T, D], or None if it has no such map.
        features: Input of the head, [B, D] or [B, R, D].
    """

    balance: Balance
    tokens: Tensor | None
    maps: Tensor | None
    features: Tensor


def answer_in_float32(model: ExpressionClassifier, features: Tensor) -> Balance:
    """Returns what the head of a model answers to vectors ``[B, D]``, in float32 whatever the encoder computed in."""
    with torch.autocast(features.device.type, enabled=False):
        balance: Balance = model.head(features.float())
    return balance


class DeepSupervision(nn.Module):
    """A model with a linear classifier on all tokens of its encoder.

    A fusion transformer with random weights averages over places, so the backbones do not learn where on the face
    something moved. The classifier has weights for every place, and its gradient bypasses the transformer. It is not
    part of the model: checkpoints and exports leave it out.

    Args:
        model: The model to train.
        tokens: Whether to add the classifier; encoders without tokens never have one.
    """

    def __init__(self, model: ExpressionClassifier, *, tokens: bool) -> None:
        """Wraps a model."""
        super().__init__()
        self.model = model
        self.classify_tokens: nn.Linear | None = None
        encoder = model.encoder
        if tokens and isinstance(encoder, Encoder | CompactEncoder) and model.regions is None:
            self.classify_tokens = nn.Linear(encoder.num_tokens * encoder.out_features, len(model.labels))

    def forward(self, images: Tensor) -> Supervised:
        """Returns the outputs for normalized images ``[B, 3, S, S]``."""
        encoder = self.model.encoder
        if not isinstance(encoder, Encoder | CompactEncoder) or self.model.regions is not None:
            features = self.model.encode(images)
            return Supervised(answer_in_float32(self.model, features), None, None, features.float())
        levels = encoder.tokens(images)  # [B, T, D] each
        features = encoder.fuse(levels)
        tokens = None
        if self.classify_tokens is not None:
            tokens = log_softmax(self.classify_tokens(torch.cat(levels, dim=1).flatten(1)).float())
        return Supervised(answer_in_float32(self.model, features), tokens, levels[-1].float(), features.float())
