"""What training adds around a model: a classifier on the encoder's tokens (deep supervision)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from arbex.models import Encoder, ExpressionClassifier
from arbex.models.head import Balance, log_softmax


class Supervised(NamedTuple):
    """Answers for a training batch.

    Attributes:
        balance: What the model's head computed.
        tokens: Log-probabilities of the classifier on tokens [B, N], where there is one.
        maps: The encoder's last feature map as tokens [B, T, D], where it has one.
        features: What the head saw, [B, D] or [B, R, D].
    """

    balance: Balance
    tokens: Tensor | None
    maps: Tensor | None
    features: Tensor


class DeepSupervision(nn.Module):
    """A model with a linear classifier on all of its encoder's tokens.

    With random weights the fusion transformer averages over places, and the backbones learn nothing of where on
    the face something moved. The classifier has a weight for every place; its gradient does not pass the
    transformer. It is not part of the model: checkpoints and exports leave it out.

    Args:
        model: The model to train.
        tokens: Whether to add the classifier; it needs an encoder that has tokens.
    """

    def __init__(self, model: ExpressionClassifier, *, tokens: bool) -> None:
        """Wraps a model."""
        super().__init__()
        self.model = model
        self.classify_tokens: nn.Linear | None = None
        encoder = model.encoder
        if tokens and isinstance(encoder, Encoder) and model.regions is None:
            self.classify_tokens = nn.Linear(encoder.num_tokens * encoder.out_features, len(model.labels))

    def forward(self, images: Tensor) -> Supervised:
        """Answers for normalized images ``[B, 3, S, S]``."""
        encoder = self.model.encoder
        if not isinstance(encoder, Encoder) or self.model.regions is not None:
            features = self.model.encode(images)
            return Supervised(self.answer(features), None, None, features.float())
        levels = encoder.tokens(images)  # three times [B, T, D]
        features = encoder.fuse(levels)
        tokens = None
        if self.classify_tokens is not None:
            tokens = log_softmax(self.classify_tokens(torch.cat(levels, dim=1).flatten(1)).float())
        return Supervised(self.answer(features), tokens, levels[-1].float(), features.float())

    def answer(self, features: Tensor) -> Balance:
        """Maps vectors ``[B, D]`` to the head's answer, in float32 whatever the encoder computed in."""
        with torch.autocast(features.device.type, enabled=False):
            balance: Balance = self.model.head(features.float())
        return balance
