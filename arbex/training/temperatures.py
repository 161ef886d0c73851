"""Temperatures that make probabilities agree with how often answers are right, fitted to validation images.

One number per distribution (Guo et al., arXiv 1706.04599): first that of each part of the mixture on its own, so that
their confidences can be compared, then that of the mixture of the calibrated parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from arbex.models.head import Evidence, Head, Temperatures

LARGEST: Final = 20.0
"""Largest temperature that is tried; the smallest is its reciprocal."""


def likeliest(loss: Callable[[float], float]) -> float:
    """Returns the temperature at which a loss is lowest.

    A standard normal prior of its logarithm counts about as much as one image. It matters only where images are so few
    that all answers are right, and certainty would have no price.

    Args:
        loss: Negative log-likelihood of all images in nats, by temperature.
    """
    from scipy.optimize import minimize_scalar

    limit = math.log(LARGEST)
    bounds = (-limit, limit)
    found = minimize_scalar(lambda log_t: loss(math.exp(log_t)) + log_t**2 / 2, bounds=bounds, method="bounded")
    return math.exp(found.x)


def loss_at(
    head: Head, evidence: Evidence, labels: Tensor, temperatures: Temperatures, name: str, value: float
) -> float:
    """Returns the negative log-likelihood of a distribution with one of the temperatures changed, in nats."""
    balance = head.balance(evidence, temperatures._replace(**{name: value}))
    log_p = balance.corrected if name == "mixture" else getattr(balance, name)
    return float(F.nll_loss(log_p, labels, reduction="sum"))


@torch.inference_mode()
def fit_temperatures(head: Head, evidence: Evidence, labels: Tensor) -> Temperatures:
    """Returns the temperatures at which labels are most likely.

    Args:
        head: The head, in eval mode; it does not change.
        evidence: What it computed of n images.
        labels: Position of each image's class ``[n]``.
    """
    found = Temperatures()
    for name in head.tempered:
        found = found._replace(**{name: likeliest(partial(loss_at, head, evidence, labels, found, name))})
    return found
