"""Encoder and head as one module, which a run stores and the export traces."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from arbex.models.distributions import confidence
from arbex.models.head import Balance, Head
from arbex.spec import Preprocessing


class Output(NamedTuple):
    """Outputs for a batch of B images and N classes.

    Attributes:
        corrected: Probabilities after reliability balancing [B, N].
        primary: Probabilities before it [B, N].
        confidence: Confidence of the corrected distribution, ``C(corrected)`` [B], in [0, 1].
        logits: Logits of the primary distribution [B, N].
        embedding: Vectors in the space of the anchors [B, D].
    """

    corrected: Tensor
    primary: Tensor
    confidence: Tensor
    logits: Tensor
    embedding: Tensor


class ExpressionClassifier(nn.Module):
    """A model from images to distributions.

    Args:
        encoder: Maps normalized images ``[B, 3, S, S]`` to vectors.
        head: Maps those vectors to distributions.
        labels: Class names in the order of the outputs.
        preprocessing: How images become the input of the encoder.
        regions: Module that cuts images into regions ``[B, R, 3, S, S]``, each of which the encoder sees; None for a
            method without regions.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: Head,
        labels: tuple[str, ...],
        preprocessing: Preprocessing,
        regions: nn.Module | None = None,
    ) -> None:
        """Joins the parts."""
        super().__init__()
        self.encoder, self.head, self.regions = encoder, head, regions
        self.labels, self.preprocessing = labels, preprocessing

    def encode(self, images: Tensor) -> Tensor:
        """Maps normalized float32 images ``[B, 3, S, S]`` to the input of the head.

        Returns:
            One vector per image ``[B, D]`` (D is 768 in preset ``base``); with regions, one per region ``[B, R, D]``.
        """
        if self.regions is None:
            vector: Tensor = self.encoder(images)
            return vector
        regions = self.regions(images)  # [B, R, 3, S, S]
        vectors: Tensor = self.encoder(regions.flatten(0, 1))
        return vectors.reshape(-1, regions.shape[1], vectors.shape[-1])

    def balance(self, images: Tensor) -> Balance:
        """Maps normalized images to the output of the head, for the losses."""
        balance: Balance = self.head(self.encode(images))
        return balance

    def forward(self, images: Tensor) -> Output:
        """Maps normalized float32 images ``[B, 3, S, S]`` to probabilities."""
        b = self.balance(images)
        return Output(b.corrected.exp(), b.primary.exp(), confidence(b.corrected).squeeze(-1), b.logits, b.embedding)
