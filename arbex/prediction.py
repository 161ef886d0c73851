"""A model's answers for many images, for evaluation, experiments and export alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from arbex.data.augmentation import Normalize
from arbex.models import ExpressionClassifier

BATCH = 32
"""Number of images per batch."""


class Predictions(NamedTuple):
    """Answers for n images and N classes, float32 on the CPU.

    Attributes:
        corrected: Probabilities after reliability balancing [n, N].
        primary: Probabilities before it [n, N].
        confidence: Confidence of the corrected distribution [n], in [0, 1].
        embedding: Vectors in the space of the anchors [n, D].
    """

    corrected: Tensor
    primary: Tensor
    confidence: Tensor
    embedding: Tensor


@torch.inference_mode()
def predict(model: ExpressionClassifier, batches: Iterable[Tensor]) -> Predictions:
    """Returns a model's answers in eval mode, computed on the device that holds it.

    Args:
        model: The model; its mode is the same afterward.
        batches: uint8 RGB images ``[B, 3, S, S]``, at least one batch.
    """
    device = next(model.parameters()).device
    normalize = Normalize(model.preprocessing).to(device)
    was_training = model.training
    model.eval()
    answers = []
    try:
        for batch in batches:
            output = model(normalize(batch.to(device)))
            answers.append(Predictions(*(getattr(output, name).cpu() for name in Predictions._fields)))
    finally:
        model.train(was_training)
    return Predictions(*map(torch.cat, zip(*answers, strict=True)))
