"""A model's answers for many images, for evaluation, experiments and export alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from arbex.data.augmentation import Normalize
from arbex.models import ExpressionClassifier, Output
from arbex.models.distributions import confidence
from arbex.models.head import Evidence, Head
from arbex.spec import PROBABILITY_FLOOR

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


@contextmanager
def answering(model: ExpressionClassifier) -> Iterator[Callable[[Tensor], Tensor]]:
    """Puts a model into eval mode for a while, without gradients.

    Yields:
        A function that brings uint8 images ``[B, 3, S, S]`` to the device of the model and normalizes them.
    """
    device = next(model.parameters()).device
    normalize = Normalize(model.preprocessing).to(device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield lambda batch: normalize(batch.to(device))
    finally:
        model.train(was_training)


def gather_evidence(model: ExpressionClassifier, batches: Iterable[Tensor]) -> Evidence:
    """Returns what the head of a model computes of images, on the CPU.

    Args:
        model: The model; its mode is the same afterward.
        batches: uint8 RGB images ``[B, 3, S, S]``, at least one batch.
    """
    with answering(model) as normalized:
        found = [model.head.evidence(model.encode(normalized(batch)).float()) for batch in batches]
    logits, embedding, closeness, attentive = (
        None if field[0] is None else torch.cat(field).cpu() for field in zip(*found, strict=True)
    )
    assert logits is not None
    assert embedding is not None
    return Evidence(logits, embedding, closeness, attentive)


def answers_of(head: Head, evidence: Evidence) -> Predictions:
    """Returns the answers that follow from what a head computed of n images."""
    with torch.inference_mode():
        found = head.balance(evidence, head.temperatures)
        certain = confidence(found.corrected).squeeze(-1)
        return Predictions(found.corrected.exp(), found.primary.exp(), certain, evidence.embedding)


def predict(model: ExpressionClassifier, batches: Iterable[Tensor], *, mirrored: bool = False) -> Predictions:
    """Returns a model's answers in eval mode, computed on the device that holds it.

    Args:
        model: The model; its mode is the same afterward.
        batches: uint8 RGB images ``[B, 3, S, S]``, at least one batch.
        mirrored: Whether to average both distributions over each image and its mirror image. The confidence is then
            that of the averaged one, and the embedding that of the image.
    """
    answers = []
    with answering(model) as normalized:
        for batch in batches:
            images = normalized(batch)
            output = averaged(model(images), model(images.flip(3))) if mirrored else model(images)
            answers.append(Predictions(*(getattr(output, name).cpu() for name in Predictions._fields)))
    return Predictions(*map(torch.cat, zip(*answers, strict=True)))


def averaged(one: Output, other: Output) -> Output:
    """Returns an output with the means of both distributions of two outputs, and all else from the first."""
    corrected, primary = (one.corrected + other.corrected) / 2, (one.primary + other.primary) / 2
    certain = confidence(corrected.clamp_min(PROBABILITY_FLOOR).log()).squeeze(-1)
    return one._replace(corrected=corrected, primary=primary, confidence=certain)
