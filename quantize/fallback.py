"""The search for the fewest operators that must be restored to float for a gate to hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arbex.progress import SILENT, Reporter
from arbex.provenance import PredictedPoint, Tradeoff, Trial
from quantize.sensitivity import Sensitivity

MOST_TRIALS = 20
"""Largest number of placements that a search measures, each under every recipe in use."""


@dataclass(frozen=True)
class Score:
    """Result of a placement on images.

    Attributes:
        mean_kl: Mean KL to PyTorch in nats, the largest over the recipes.
        agreement: Top-1 agreement with PyTorch, the smallest over the recipes.
        holds: Whether the gate holds.
    """

    mean_kl: float
    agreement: float
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """Result of a search.

    Attributes:
        restored: Names of the operators that stay in float.
        holds: Whether the gate holds with them.
        trials: Measured points, in the order of the number of restored operators.
        sensitivity: The sensitivity table that gave the order.
    """

    restored: tuple[str, ...]
    holds: bool
    trials: tuple[Trial, ...]
    sensitivity: Sensitivity

    @property
    def tradeoff(self) -> Tradeoff:
        """Table, curve and choice, as a bundle records them."""
        table = self.sensitivity
        curve = zip(table.int8_share, table.predicted, strict=True)
        return Tradeoff(
            restored=self.restored,
            trials=self.trials,
            predicted=tuple(PredictedPoint(int8_share=share, kl=kl) for share, kl in curve),
            operators=table.costs,
        )


class Search:
    """Searches for the fewest operators to restore, in the order of the sensitivity table."""

    def __init__(
        self, sensitivity: Sensitivity, measure: Callable[[tuple[str, ...]], Score], report: Reporter = SILENT
    ) -> None:
        """Starts with nothing measured.

        Args:
            sensitivity: Table with order and predictions.
            measure: Measures the placement with the given operators in float.
            report: Receives a line per trial.
        """
        self.sensitivity, self.measure, self.report = sensitivity, measure, report
        self.scores: dict[int, Score] = {}

    def holds(self, restored: int) -> bool:
        """Tells whether the gate holds with a number of operators restored, which is measured once."""
        if restored not in self.scores:
            score = self.measure(self.sensitivity.order[:restored])
            self.scores[restored] = score
            self.report.line(
                f"{restored} operators in float, {self.sensitivity.int8_share[restored]:.1%} of multiply-adds in int8: "
                f"mean KL {score.mean_kl:.1e}, agreement {score.agreement:.2%}"
            )
        return self.scores[restored].holds

    def run(self) -> Outcome:
        """Doubles the number of restored operators until the gate holds, then halves the gap."""
        everything = len(self.sensitivity.order)
        low, high = 0, 0  # the gate is missed at low, if anything was tried there, and holds at high
        while not self.holds(high) and high < everything:
            low, high = high, min(everything, max(1, 2 * high))
        while high - low > 1 and len(self.scores) < MOST_TRIALS:
            middle = (low + high) // 2
            low, high = (low, middle) if self.holds(middle) else (middle, high)
        return Outcome(self.sensitivity.order[:high], self.holds(high), self.trials(), self.sensitivity)

    def trials(self) -> tuple[Trial, ...]:
        """Returns the measured points, in the order of the number of restored operators."""
        table = self.sensitivity
        return tuple(
            Trial(
                restored=n,
                int8_share=table.int8_share[n],
                predicted_kl=table.predicted[n],
                mean_kl=score.mean_kl,
                agreement=score.agreement,
            )
            for n, score in sorted(self.scores.items())
        )
