"""Comparing answers batch by batch, and what reports show of the images behind the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from arbex.evaluation.metrics import Floats, calibration_error
from runtimes.base import Prediction
from runtimes.evidence import WORST, Evidence, WorstImage, distribution, reliability
from runtimes.intervals import (
    Interval,
    correlation_interval,
    mean_interval,
    paired_interval,
    resampled_interval,
    wilson_interval,
)
from runtimes.parity import (
    GroupParity,
    Parity,
    flipped,
    jensen_shannon_divergence,
    kl_divergence,
    rank_correlation,
)

KEPT: Final = 50_000
"""Number of images, drawn evenly, whose figures are kept one by one; counts, sums and extremes are of all images."""


@dataclass
class Tally:
    """Counts over the images of a class or group.

    Attributes:
        samples: Number of images.
        same: Number of images with the same most probable class.
        lost: Number of images that PyTorch alone recognizes.
        gained: Number of images that the artifact alone recognizes.
    """

    samples: int = 0
    same: int = 0
    lost: int = 0
    gained: int = 0

    def add(self, same: NDArray[np.bool_], before: NDArray[np.bool_], after: NDArray[np.bool_]) -> None:
        """Counts images: whether both sides agree, and whether each is right, ``[n]``."""
        self.samples += len(same)
        self.same += int(same.sum())
        self.lost += int((before & ~after).sum())
        self.gained += int((after & ~before).sum())

    @property
    def change(self) -> float:
        """Change of the share of images that are recognized."""
        return (self.gained - self.lost) / self.samples

    @property
    def change_interval(self) -> Interval:
        """The 95 % interval of the change."""
        return paired_interval(self.lost, self.gained, self.samples)


@dataclass(frozen=True)
class Rows:
    """Figures of single images, ``[n]`` each.

    Attributes:
        kl: KL(PyTorch, artifact) in nats.
        confidence: ``confidence`` of PyTorch and of the artifact, ``[n, 2]``.
        top: Largest probability of PyTorch and of the artifact, ``[n, 2]``.
        right: Whether PyTorch and the artifact are right, ``[n, 2]``.
        lots: Random numbers that decide which images are kept.
    """

    kl: Floats
    confidence: NDArray[np.float32]
    top: NDArray[np.float32]
    right: NDArray[np.bool_]
    lots: Floats

    def fewer(self, most: int) -> Rows:
        """Returns at most ``most`` images, drawn evenly."""
        if len(self.lots) <= most:
            return self
        chosen = np.sort(np.argpartition(self.lots, most)[:most])
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def joined(parts: Sequence[Rows]) -> Rows:
    """Returns the figures of all images in order."""
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rows.__dataclass_fields__))


class Comparison:
    """Compares answers batch by batch; its memory does not grow with the number of images beyond ``KEPT``.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        """Starts without images."""
        self.classes = classes
        self.errors = np.zeros(3)
        self.total = Tally()
        self.by_class: dict[Any, Tally] = {}
        self.by_group: dict[Any, Tally] = {}
        self.kl_sum = self.js_sum = self.max_kl = 0.0
        self.rows: list[Rows] = []
        self.worst: list[WorstImage] = []
        self.labeled = False
        self.random = np.random.default_rng(0)

    def add(
        self,
        reference: Prediction,
        other: Prediction,
        labels: NDArray[np.integer] | None = None,
        groups: NDArray[np.str_] | None = None,
        images: NDArray[np.uint8] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Adds images.

        Args:
            reference: PyTorch's answers.
            other: The artifact's answers.
            labels: Classes of the images [n], for changes of recall and calibration; given for all batches or for none.
            groups: Groups of the images [n].
            images: The images ``[n, S, S, 3]``, of which the worst are kept.
            names: Names of the images; by default their numbers.
        """
        apart = [float(np.abs(a.astype(np.float64) - b).max()) for a, b in zip(reference, other, strict=True)]
        kl = kl_divergence(reference.corrected, other.corrected)
        if not np.isfinite(apart).all():
            apart, kl = [math.inf if not math.isfinite(x) else x for x in apart], np.full_like(kl, np.inf)
        self.errors = np.maximum(self.errors, apart)
        self.kl_sum += float(kl.sum())
        self.js_sum += float(jensen_shannon_divergence(reference.corrected, other.corrected).sum())
        self.max_kl = max(self.max_kl, float(kl.max()))
        answers = np.stack([reference.corrected.argmax(-1), other.corrected.argmax(-1)], -1)
        right = np.zeros_like(answers, dtype=bool) if labels is None else answers == np.asarray(labels)[:, None]
        self.labeled = labels is not None
        if images is not None:
            first = self.total.samples + 1
            names = names or [f"image {number}" for number in range(first, first + len(kl))]
            self.keep_worst(kl, reference, other, labels, images, names)
        self.count(answers[:, 0] == answers[:, 1], right, answers[:, 0] if labels is None else labels, groups)
        self.rows.append(
            Rows(
                kl=kl,
                confidence=np.stack([reference.confidence, other.confidence], -1),
                top=np.stack([reference.corrected.max(-1), other.corrected.max(-1)], -1),
                right=right,
                lots=self.random.random(len(kl)),
            )
        )
        if sum(len(part.kl) for part in self.rows) > 2 * KEPT:
            self.rows = [joined(self.rows).fewer(KEPT)]

    def count(
        self,
        same: NDArray[np.bool_],
        right: NDArray[np.bool_],
        classes: NDArray[np.integer],
        groups: NDArray[np.str_] | None,
    ) -> None:
        """Adds images to the counts of all, of their classes and of their groups."""
        self.total.add(same, right[:, 0], right[:, 1])
        for tallies, keys in ((self.by_class, classes), (self.by_group, groups)):
            for key in () if keys is None else np.unique(keys):
                mine = keys == key
                tallies.setdefault(key.item(), Tally()).add(same[mine], right[mine, 0], right[mine, 1])

    def keep_worst(
        self,
        kl: Floats,
        reference: Prediction,
        other: Prediction,
        labels: NDArray[np.integer] | None,
        images: NDArray[np.uint8],
        names: Sequence[str],
    ) -> None:
        """Adds the images that differ most, and forgets those that no longer do."""
        for i in np.argsort(-kl)[:WORST].tolist():
            self.worst.append(
                WorstImage(
                    name=names[i],
                    image=images[i].copy(),
                    kl=float(kl[i]),
                    expected=dict(zip(self.classes, reference.corrected[i].tolist())),
                    found=dict(zip(self.classes, other.corrected[i].tolist())),
                    label=None if labels is None else self.classes[int(labels[i])],
                )
            )
        self.worst = sorted(self.worst, key=lambda image: -image.kl)[:WORST]

    def evidence(self) -> Evidence:
        """Returns what lies behind the figures."""
        rows = joined(self.rows).fewer(KEPT)
        sides = [reliability(rows.top[:, side], rows.right[:, side]) if self.labeled else () for side in (0, 1)]
        return Evidence(
            divergences=distribution(rows.kl),
            before=sides[0],
            after=sides[1],
            by_class={self.classes[k]: self.group(tally) for k, tally in sorted(self.by_class.items())},
            worst=tuple(self.worst),
        )

    def parity(self) -> Parity:
        """Returns the figures of all images so far, of which there must be one."""
        n, rows = self.total.samples, joined(self.rows).fewer(KEPT)
        kept = len(rows.kl)
        finite = bool(np.isfinite(self.errors).all())
        correlation = rank_correlation(*rows.confidence.T) if finite else None
        flips = None if correlation is None else flipped(*rows.confidence.T)
        labeled = self.labeled and finite
        return Parity(
            samples=n,
            max_abs_error=float(self.errors.max()),
            primary_max_abs_error=float(self.errors[1]),
            confidence_max_abs_error=float(self.errors[2]),
            mean_kl=self.kl_sum / n,
            mean_kl_ci95=mean_interval(rows.kl) if finite else (math.inf, math.inf),
            p99_kl=float(np.quantile(rows.kl, 0.99)) if finite else math.inf,
            max_kl=self.max_kl,
            jensen_shannon=self.js_sum / n if finite else math.inf,
            top1_agreement=self.total.same / n,
            top1_agreement_ci95=wilson_interval(self.total.same, n),
            confidence_rank_correlation=correlation,
            confidence_rank_correlation_ci95=None if correlation is None else correlation_interval(correlation, kept),
            confidence_flips=None if flips is None else float(flips.mean()),
            confidence_flips_ci95=None if flips is None else wilson_interval(int(flips.sum()), kept),
            ece_delta=ece_change(rows) if labeled else None,
            ece_delta_ci95=resampled_interval(kept, lambda w: ece_change(rows, w)) if labeled else None,
            recall_change={self.classes[k]: t.change for k, t in sorted(self.by_class.items())} if labeled else None,
            recall_change_ci95=(
                {self.classes[k]: t.change_interval for k, t in sorted(self.by_class.items())} if labeled else None
            ),
            groups={name: self.group(tally) for name, tally in sorted(self.by_group.items())},
        )

    def group(self, tally: Tally) -> GroupParity:
        """Returns the figures of a group."""
        return GroupParity(
            samples=tally.samples,
            top1_agreement=tally.same / tally.samples,
            top1_agreement_ci95=wilson_interval(tally.same, tally.samples),
            recall_change=tally.change if self.labeled else None,
            recall_change_ci95=tally.change_interval if self.labeled else None,
        )


def ece_change(rows: Rows, weights: Floats | None = None) -> float:
    """Returns the change of the expected calibration error of weighted images."""
    before, after = (calibration_error(rows.top[:, side], rows.right[:, side], weights) for side in (0, 1))
    return after - before


def compare(
    reference: Prediction,
    other: Prediction,
    labels: NDArray[np.integer] | None = None,
    classes: Sequence[str] | None = None,
) -> Parity:
    """Compares an artifact's answers with the reference's on the same images.

    Args:
        reference: PyTorch's answers.
        other: The artifact's answers.
        labels: Classes of the images [n], for changes of recall and calibration.
        classes: Names of the classes; by default their numbers.
    """
    comparison = Comparison(classes or [str(k) for k in range(reference.corrected.shape[-1])])
    comparison.add(reference, other, labels)
    return comparison.parity()
