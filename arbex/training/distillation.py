"""Knowledge distillation: a student learns from a trained model's answers (Hinton et al., arXiv 1503.02531)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.data.augmentation import Normalize
from arbex.methods.base import StudentOutput
from arbex.models import ExpressionClassifier
from arbex.models.distributions import log_softmax
from arbex.models.head import Balance
from arbex.training.supervision import answer_in_float32

SIMILARITY_TEMPERATURE = 0.1
"""Temperature of the distribution over neighbors, whose cosine similarities differ by tenths."""


def soften(log_p: Tensor, temperature: float) -> Tensor:
    """Returns the log-probabilities [B, N] of ``p ** (1 / temperature)``, normalized again."""
    return log_softmax(log_p / temperature)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Returns the mean of ``KL(teacher || student)`` for log-probabilities [B, N]."""
    return (teacher.exp() * (teacher - student)).sum(-1).mean()


def neighbors(embedding: Tensor) -> Tensor:
    """Returns log-probabilities [B, B - 1] over the other samples of a batch, by cosine similarity of [B, D].

    Embeddings of two models have different bases, and may have different widths; the similarity of samples depends on
    neither.
    """
    unit = F.normalize(embedding, dim=-1)
    batch = len(unit)
    others = ~torch.eye(batch, dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T)[others].view(batch, batch - 1)
    return log_softmax(similarity / SIMILARITY_TEMPERATURE)


class Teacher(nn.Module):
    """A trained model that answers for the student's images and does not learn.

    Args:
        model: The trained model. Images are resized to its own size.
        temperature: Temperature of the distributions; above 1, the ranking of improbable classes counts too.
        embedding: Weight of the divergence between the distributions over neighbors in the embedding.
        mirrored: Whether its answer is the mean of those for an image and its mirror image, which is the better one.
    """

    def __init__(
        self, model: ExpressionClassifier, temperature: float, embedding: float, *, mirrored: bool = False
    ) -> None:
        """Freezes the model."""
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.normalize = Normalize(model.preprocessing)
        self.side = model.preprocessing.image_size
        self.temperature, self.embedding, self.mirrored = temperature, embedding, mirrored

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def balance(self, images: Tensor) -> Balance:
        """Returns the teacher's answers, float32, for images ``[B, 3, S, S]`` in 0..255."""
        if images.shape[-1] != self.side:
            images = F.interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True)
        normalized = self.normalize(images)
        balance = answer_in_float32(self.model, self.model.encode(normalized))
        if not self.mirrored:
            return balance
        other = answer_in_float32(self.model, self.model.encode(normalized.flip(3)))
        return balance._replace(corrected=torch.logaddexp(balance.corrected, other.corrected) - math.log(2))

    def losses(self, teacher: Balance, outputs: Iterable[StudentOutput], embedding: Tensor) -> dict[str, Tensor]:
        """Returns the weighted divergences of a batch.

        Args:
            teacher: The teacher's answers for the images that the student saw.
            outputs: Distributions of the student; each is compared with the teacher's corrected distribution.
            embedding: Embedding of the student [B, D].
        """
        t = self.temperature
        wanted = soften(teacher.corrected, t)
        each = [output.weight * divergence(wanted, soften(output.log_p, t)) for output in outputs]
        return {
            # Gradients through softened distributions are smaller by the square of the temperature.
            "distil": t**2 * torch.stack(each).sum(),
            "distil_embedding": self.embedding * divergence(neighbors(teacher.embedding), neighbors(embedding)),
        }
