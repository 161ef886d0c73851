"""Encoder and head as one module: what a run holds, what export traces."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from arbex.models.head import Balance, confidence
from arbex.spec import Preprocessing


class Output(NamedTuple):
    """Answers for a batch of B images and N classes.

    Attributes:
        corrected: Probabilities after reliability balancing [B, N].
        primary: Probabilities before it [B, N].
        confidence: ``C(corrected)`` in [0, 1] [B].
        logits: The values behind ``primary`` [B, N].
        embedding: The vector in which the anchors lie [B, D].
    """

    corrected: Tensor
    primary: Tensor
    confidence: Tensor
    logits: Tensor
    embedding: Tensor


class ExpressionClassifier(nn.Module):
    """Images to distributions.

    Args:
        encoder: Maps normalized images ``[B, 3, S, S]`` to vectors.
        head: Maps those vectors to a :class:`~arbex.models.head.Balance`.
        labels: Class names in the order of the outputs.
        preprocessing: How images become the encoder's input.
        regions: Cuts images into regions ``[B, R, 3, S, S]`` that the encoder sees one by one, for a method with such.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        labels: tuple[str, ...],
        preprocessing: Preprocessing,
        regions: nn.Module | None = None,
    ) -> None:
        """Joins the parts."""
        super().__init__()
        self.encoder, self.head, self.regions = encoder, head, regions
        self.labels, self.preprocessing = labels, preprocessing

    def encode(self, images: Tensor) -> Tensor:
        """Maps normalized float32 images ``[B, 3, S, S]`` to what the head sees: a vector each (768 wide in ``base``).

        With regions, a vector a region: ``[B, R, D]``.
        """
        if self.regions is None:
            vector: Tensor = self.encoder(images)
            return vector
        regions = self.regions(images)  # [B, R, 3, S, S]
        vectors: Tensor = self.encoder(regions.flatten(0, 1))
        return vectors.reshape(-1, regions.shape[1], vectors.shape[-1])

    def balance(self, images: Tensor) -> Balance:
        """Maps normalized images to log-distributions and embedding, for the losses."""
        balance: Balance = self.head(self.encode(images))
        return balance

    def forward(self, images: Tensor) -> Output:
        """Maps normalized float32 images ``[B, 3, S, S]`` to probabilities."""
        b = self.balance(images)
        return Output(b.corrected.exp(), b.primary.exp(), confidence(b.corrected).squeeze(-1), b.logits, b.embedding)
