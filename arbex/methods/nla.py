"""NLA: ambiguous samples count more, noisy ones less (Navigating Label Ambiguity, arXiv 2502.09993).

Two forms of the loss are public, and they differ. ``paper`` is that of the publication,
``lambda (1 + w) CE + (1 - lambda) JSD`` with a weight w of at most 1. That the weight has no gradient and that the
divergence is averaged over the batch is this project's reading.

``code`` is what its authors' code computes: half the mean cross-entropy, half the mean cross-entropy weighted by the
density itself, through which a gradient flows, and half the consistency. That one is the divergence from the mean of
the logits, not of the probabilities, and the sum over the batch. Unlike there, an image and its mirror image pass batch
norms together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from arbex.checks import check_choice, check_range
from arbex.methods.base import Method, MethodOptions, TrainingBatch, cross_entropies, flipped, strongest_other
from arbex.models.distributions import logsumexp

MEAN_RIGHT, MEAN_WRONG = (0.5, 0.5), (0.30, 0.15)
"""Points of the largest weight: (probability of the label, probability of the strongest other class)."""

VARIANCE_RIGHT = 0.80
VARIANCE_WRONG, OFF_DIAGONAL_WRONG = 0.91**2 + (0.91 / 6) ** 2, 0.91**2 - (0.91 / 6) ** 2
"""Entries of the covariance of wrong predictions, which the publication prints as .8511 and .8051."""

FORMS = ("paper", "code")


@dataclass(frozen=True, kw_only=True)
class NlaOptions(MethodOptions):
    """Options of NLA.

    Attributes:
        form: Form of the loss: ``paper`` or ``code``.
        class_share: Share of the classification loss in the form ``paper`` (its ``lambda``).
    """

    form: str = "paper"
    class_share: float = 0.5

    def __post_init__(self) -> None:
        """Checks every value."""
        check_choice("form", self.form, FORMS)
        check_range("class_share", self.class_share, 0.0, 1.0)


def covariance_right(progress: float) -> float:
    """Returns the covariance b of right predictions, from 0 to -0.48, after a share of the training."""
    return -0.48 * (1 - math.exp(-15 * progress))


def gaussian(x: Tensor, mean: tuple[float, float], covariance: Tensor) -> Tensor:
    """Returns a bivariate Gaussian with a peak of 1 at points ``[B, 2]``, as ``[B]``."""
    away = x - torch.tensor(mean, dtype=x.dtype, device=x.device)
    return torch.exp(-0.5 * (away @ torch.linalg.inv(covariance) * away).sum(-1))


def noise_aware_weight(p: Tensor, labels: Tensor, progress: float, *, density: bool) -> Tensor:
    """Returns the weight ``[B]`` of each sample (noise-aware adaptive weighting).

    Args:
        p: Probabilities ``[B, N]``.
        labels: ``[B]``.
        progress: Share of the training that is done, in [0, 1].
        density: Whether the weight is the probability density itself; otherwise it is scaled to a peak of 1.
    """
    rows = torch.arange(len(p), device=p.device)
    nearest = strongest_other(p, labels)
    x = torch.stack([p[rows, labels], p[rows, nearest]], dim=1)  # [B, 2]
    b = covariance_right(progress)
    right = torch.tensor([[VARIANCE_RIGHT, b], [b, VARIANCE_RIGHT]], dtype=p.dtype, device=p.device)
    v, c = VARIANCE_WRONG, OFF_DIAGONAL_WRONG
    wrong = torch.tensor([[v, c], [c, v]], dtype=p.dtype, device=p.device)
    weights = []
    for mean, covariance in ((MEAN_RIGHT, right), (MEAN_WRONG, wrong)):
        scale = 1 / (2 * math.pi * float(torch.linalg.det(covariance)) ** 0.5) if density else 1.0
        weights.append(scale * gaussian(x, mean, covariance))
    return torch.where(x[:, 0] >= x[:, 1], weights[0], weights[1])


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Returns the Jensen-Shannon divergence [B] in nats of log-probabilities [B, N]."""
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    to_p = (log_p.exp() * (log_p - middle)).sum(-1)
    to_q = (log_q.exp() * (log_q - middle)).sum(-1)
    return 0.5 * (to_p + to_q)


def distance_from_mean_logits(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Returns ``(KL(m || p) + KL(m || q)) / 2`` [B] in nats, where m is the softmax of the mean of the logits.

    This equals ``-log sum_c sqrt(p_c q_c)``, the Bhattacharyya distance, of log-probabilities [B, N].
    """
    return -logsumexp((log_p + log_q) / 2).squeeze(-1)


class NavigatingLabelAmbiguity(Method[NlaOptions]):
    """A linear classifier that sees every image and its mirror image."""

    name = "nla"
    options_type = NlaOptions

    def views(self, images: Tensor) -> Tensor:
        """Returns images and their mirror images."""
        return torch.cat([images, flipped(images)])

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the classification loss of the images and their consistency with the mirror images."""
        plain, mirrored = batch.balance.primary.chunk(2)
        each = cross_entropies(plain, batch.targets, batch.settings.label_smoothing)
        progress = (batch.epoch - 1) / max(batch.settings.epochs, 1)
        if self.options.form == "code":
            weight = noise_aware_weight(plain.exp(), batch.labels, progress, density=True)
            # Gradients are averaged over processes, and this is a sum over the batches of all of them.
            consistency = processes() * distance_from_mean_logits(plain, mirrored).sum()
            return {"class": 0.5 * each.mean() + 0.5 * (weight * each).mean(), "consistency": 0.5 * consistency}
        weight = noise_aware_weight(plain.detach().exp(), batch.labels, progress, density=False)
        share, consistency = self.options.class_share, jensen_shannon(plain, mirrored).mean()
        return {"class": share * ((1 + weight) * each).mean(), "consistency": (1 - share) * consistency}


def processes() -> int:
    """Returns the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
