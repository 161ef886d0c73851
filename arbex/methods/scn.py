"""SCN: uncertain samples count less, and some are relabeled (Wang et al., Suppressing Uncertainties, CVPR 2020).

The publication relabels samples of the uncertain part of a batch, and its authors' code all samples; both are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.checks import check_range
from arbex.errors import InputError
from arbex.methods.base import Method, MethodOptions, TrainingBatch, primary_loss
from arbex.models.head import Evidence, Head
from arbex.settings import TrainSettings

RELABEL_SHARE = 7
"""Part of the training after which labels are replaced: the 10th of 70 epochs."""


@dataclass(frozen=True, kw_only=True)
class ScnOptions(MethodOptions):
    """Options of SCN; the defaults are the publication's, whose training has 70 epochs.

    Attributes:
        high_share: Share of a batch that counts as certain (its ``beta``).
        rank_margin: Margin by which the mean importance of the certain samples must exceed that of the others (its
            ``delta 1``). The authors use .15 for batches of 1024 and .07 for batches of 64.
        rank_weight: Weight of the rank loss; the classification loss has 1.
        relabel_margin: Margin by which an answer must be more probable than the label to replace it (its ``delta 2``).
        relabel_epoch: Epoch in which labels are replaced for the first time, with effect from the next one on; 0 stands
            for a seventh of all epochs, as in the publication.
        relabel_all: Whether labels of certain samples may be replaced, too, as in the authors' code.
    """

    high_share: float = 0.7
    rank_margin: float = 0.15
    rank_weight: float = 1.0
    relabel_margin: float = 0.2
    relabel_epoch: int = 0
    relabel_all: bool = False

    def __post_init__(self) -> None:
        """Checks every value."""
        check_range("high_share", self.high_share, 0.01, 0.99)
        check_range("rank_margin", self.rank_margin, 0.0, 1.0)
        check_range("rank_weight", self.rank_weight, 0.0, 1e6)
        check_range("relabel_margin", self.relabel_margin, 0.0, 1.0)
        check_range("relabel_epoch", self.relabel_epoch, 0, 10**9)


class ImportanceHead(Head):
    """A linear classifier whose logits are scaled by the importance of the sample."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        """Builds the head with fresh weights."""
        super().__init__()
        self.classify = nn.Linear(in_features, num_classes)
        self.weigh = nn.Linear(in_features, 1)

    def importance(self, features: Tensor) -> Tensor:
        """Returns the importance in [0, 1] of vectors ``[B, in_features]``, as ``[B, 1]``."""
        return torch.sigmoid(self.weigh(features))

    def evidence(self, features: Tensor) -> Evidence:
        """Returns the logits, and the vectors as embedding."""
        return Evidence(self.importance(features) * self.classify(features), features)


def split_by_importance(importance: Tensor, high_share: float) -> tuple[Tensor, Tensor]:
    """Returns the positions of the certain and of the other samples by importance ``[B]``; neither is empty."""
    order = importance.argsort(descending=True)
    count = min(max(int(len(order) * high_share), 1), len(order) - 1)
    return order[:count], order[count:]


def rank_loss(importance: Tensor, high_share: float, margin: float) -> Tensor:
    """Returns ``max(0, margin - (mean of the certain - mean of the others))`` for importance ``[B]``."""
    high, low = split_by_importance(importance, high_share)
    return F.relu(margin - (importance[high].mean() - importance[low].mean()))


class SelfCure(Method[ScnOptions]):
    """Importance weighting by self-attention, rank regularization, relabeling of uncertain samples."""

    name = "scn"
    options_type = ScnOptions

    def __init__(self, options: ScnOptions | None = None) -> None:
        """Starts without replaced labels."""
        super().__init__(options)
        self.relabeled: dict[int, int] = {}
        self.found: dict[int, int] = {}  # in this epoch

    def adapt(self, settings: TrainSettings) -> TrainSettings:
        """Returns the settings as they are.

        Raises:
            InputError: If labels would be replaced only after the last epoch began.
        """
        chosen = self.options.relabel_epoch
        if chosen and 0 < settings.epochs <= chosen:
            raise InputError(
                f"relabel_epoch is {chosen}, and the training has {settings.epochs} epochs: no label would be replaced "
                "in time.",
                allowed=f"Allowed: numbers below {settings.epochs}; 0 stands for a seventh of all epochs.",
            )
        return settings

    def start_epoch(self, head: nn.Module, epoch: int, settings: TrainSettings) -> None:
        """Applies the labels that the last epoch found."""
        self.relabeled |= self.found
        self.found = {}

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> Head:
        """Returns a head with importance weights."""
        return ImportanceHead(in_features, num_classes)

    def corrected_targets(self, targets: Tensor, positions: Tensor) -> Tensor:
        """Returns the targets, in which replaced labels are one-hot."""
        if not self.relabeled:
            return targets
        targets = targets.clone()
        for row, position in enumerate(positions.tolist()):
            if position in self.relabeled:
                targets[row] = F.one_hot(torch.tensor(self.relabeled[position]), targets.shape[1])
        return targets

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the classification loss and the rank loss, and finds labels for the next epochs."""
        assert isinstance(batch.head, ImportanceHead)
        importance = batch.head.importance(batch.balance.embedding).squeeze(-1)
        first = self.options.relabel_epoch or max(1, round(batch.settings.epochs / RELABEL_SHARE))
        if batch.epoch >= first:
            self.relabel(batch, importance.detach())
        return {
            "class": primary_loss(batch),
            "rank": self.options.rank_weight * rank_loss(importance, self.options.high_share, self.options.rank_margin),
        }

    @torch.no_grad()
    def relabel(self, batch: TrainingBatch, importance: Tensor) -> None:
        """Finds new labels for samples for which another class is more probable by the margin."""
        _, low = split_by_importance(importance, self.options.high_share)
        if self.options.relabel_all:
            low = torch.arange(len(importance), device=importance.device)
        p = batch.balance.primary[low].exp()
        best, guess = p.max(1)
        own = p.gather(1, batch.labels[low, None]).squeeze(1)
        for row in torch.nonzero(best - own > self.options.relabel_margin).flatten().tolist():
            self.found[int(batch.positions[low[row]])] = int(guess[row])

    def state(self) -> dict[str, Tensor]:
        """Returns the labels that replace others from the next epoch on."""
        replaced = self.relabeled | self.found
        return {"relabeled": torch.tensor(sorted(replaced.items()))} if replaced else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores the replaced labels."""
        pairs = state["relabeled"].tolist() if "relabeled" in state else []
        self.relabeled = {int(position): int(label) for position, label in pairs}
