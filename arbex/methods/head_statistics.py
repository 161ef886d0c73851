"""What the parts of a reliability head do, in numbers that a training logs after each epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from arbex.models.distributions import mix, shares
from arbex.models.head import Balance, Evidence


def describe_parts(balance: Balance, evidence: Evidence, labels: Tensor, *, equal: bool = False) -> dict[str, float]:
    """Returns shares of n images by name, and means over them.

    Args:
        balance: Distributions of a head that has corrections.
        evidence: What they follow from.
        labels: Position of each image's class ``[n]``.
        equal: Whether the head gives its parts equal weights.

    Returns:
        ``agreement``: share of images to which all parts give the same answer. ``repaired`` and ``spoiled``: share of
        images to which only the corrected distribution, or only the primary one, gives the right answer.
        ``like_equal_weights``: share of images whose answer would be the same with equal weights. ``accuracy_PART`` and
        ``weight_PART``: accuracy of a part, and its mean weight in the mixture. ``effective_anchors``: see
        :func:`effective_anchors`.
    """
    names = [name for name in ("primary", "geometric", "attentive") if has_part(name, evidence)]
    parts = [getattr(balance, name) for name in names]
    guesses = torch.stack([part.argmax(-1) for part in parts])  # [parts, n]
    before, after = guesses[0] == labels, balance.corrected.argmax(-1) == labels
    mean = torch.stack(parts).exp().mean(0)
    weights = [torch.full((len(labels),), 1 / len(parts))] * len(parts) if equal else weights_of(parts)
    of_images = {
        "agreement": (guesses == guesses[0]).all(0),
        "repaired": ~before & after,
        "spoiled": before & ~after,
        "like_equal_weights": mean.argmax(-1) == balance.corrected.argmax(-1),
        **{f"accuracy_{name}": guess == labels for name, guess in zip(names, guesses, strict=True)},
        **{f"weight_{name}": weight for name, weight in zip(names, weights, strict=True)},
    }
    found = {name: float(values.double().mean()) for name, values in of_images.items()}
    if evidence.closeness is not None:
        found["effective_anchors"] = effective_anchors(evidence.closeness, labels)
    return found


def has_part(name: str, evidence: Evidence) -> bool:
    """Returns whether a head that computed this evidence has a part."""
    return {"geometric": evidence.closeness, "attentive": evidence.attentive}.get(name, evidence.logits) is not None


def weights_of(parts: list[Tensor]) -> list[Tensor]:
    """Returns the weight of each of two or three parts in the mixture by confidence (3.4.3), ``[n]`` each.

    Args:
        parts: Log-probabilities ``[n, N]``: the primary ones, and one or two corrections.
    """
    primary, correction = parts[0], parts[1]
    inside: tuple[Tensor, ...] = (torch.ones(len(primary), 1),)
    if len(parts) == 3:
        inside, correction = shares(parts[1], parts[2]), mix(parts[1], parts[2])
    own, other = shares(primary, correction)
    return [own.squeeze(-1), *((other * each).squeeze(-1) for each in inside)]


def effective_anchors(closeness: Tensor, labels: Tensor) -> float:
    """Returns how many anchors of a class are in use, from 1 to K, as a mean over classes.

    It is the exponential of the entropy of how often each anchor is the nearest one of the image's own class: K, if all
    are equally often, and 1, if the same one always is.

    Args:
        closeness: Closeness to anchors ``[n, N, K]``.
        labels: Position of each image's class ``[n]``.
    """
    nearest = closeness[torch.arange(len(labels)), labels].argmax(-1)  # [n]
    found = []
    for label in range(closeness.shape[1]):
        count = torch.bincount(nearest[labels == label]).double()
        if len(count):
            share = count[count > 0] / count.sum()
            found.append(float((-(share * share.log()).sum()).exp()))
    return sum(found) / len(found)


def anchor_movement(start: Tensor, now: Tensor) -> dict[str, float]:
    """Returns how far anchors ``[N, K, D]`` have moved, and how far classes are apart, in the unit of distances.

    Args:
        start: Anchors before the first epoch.
        now: Anchors now.

    Returns:
        ``anchor_displacement``: mean distance from the start. ``class_distance``: mean distance between the centers of
        the anchors of two classes.
    """
    centers = now.mean(1)
    apart = torch.cdist(centers, centers)[~torch.eye(len(centers), dtype=torch.bool, device=now.device)]
    return {
        "anchor_displacement": float((now - start).norm(dim=-1).mean()),
        "class_distance": float(apart.mean()),
    }
