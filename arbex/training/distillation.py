"""Knowledge distillation: a small model learns from a large one's answers (Hinton et al., arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.data.augmentation import Normalize
from arbex.methods.base import Answer
from arbex.models import ExpressionClassifier
from arbex.models.head import Balance, log_softmax

SIMILARITY_TEMPERATURE = 0.1
"""Steepness of the distribution over neighbors: cosines differ by tenths."""


def soften(log_p: Tensor, temperature: float) -> Tensor:
    """Returns log-probabilities [B, N] raised to ``1 / temperature`` and normalized again."""
    return log_softmax(log_p / temperature)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Returns the mean KL divergence of log-probabilities [B, N], teacher to student."""
    return (teacher.exp() * (teacher - student)).sum(-1).mean()


def neighbors(embedding: Tensor) -> Tensor:
    """Returns log-probabilities [B, B - 1] over the other samples of a batch, by cosine similarity of [B, D].

    The embeddings themselves have another basis in every model, and may have another width; who resembles whom does
    not depend on either.
    """
    unit = F.normalize(embedding, dim=-1)
    batch = len(unit)
    others = ~torch.eye(batch, dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T)[others].view(batch, batch - 1)
    return log_softmax(similarity / SIMILARITY_TEMPERATURE)


class Teacher(nn.Module):
    """A trained model that answers for the student's images; it does not learn.

    Args:
        model: The teacher. It sees images at its own size.
        temperature: Above 1 it shows how the teacher ranks the classes that it holds unlikely.
        embedding: Weight of the divergence of the distributions over neighbors in the embedding.
    """

    def __init__(self, model: ExpressionClassifier, temperature: float, embedding: float) -> None:
        """Freezes the teacher."""
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.normalize = Normalize(model.preprocessing)
        self.side = model.preprocessing.image_size
        self.temperature, self.embedding = temperature, embedding

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def balance(self, images: Tensor) -> Balance:
        """Answers for images ``[B, 3, S, S]`` in 0..255."""
        if images.shape[-1] != self.side:
            images = F.interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True)
        return self.model.balance(self.normalize(images))

    def losses(self, images: Tensor, answers: Iterable[Answer], embedding: Tensor) -> dict[str, Tensor]:
        """Returns the weighted divergences of a batch.

        Args:
            images: What the student saw, ``[B, 3, S, S]`` in 0..255.
            answers: The student's distributions; all of them learn from the teacher's corrected distribution.
            embedding: The student's embedding [B, D].
        """
        teacher, t = self.balance(images), self.temperature
        wanted = soften(teacher.corrected, t)
        each = [answer.weight * divergence(wanted, soften(answer.log_p, t)) for answer in answers]
        return {
            # Gradients through softened answers shrink by the temperature squared.
            "distil": t**2 * torch.stack(each).sum(),
            "distil_embedding": self.embedding * divergence(neighbors(teacher.embedding), neighbors(embedding)),
        }
