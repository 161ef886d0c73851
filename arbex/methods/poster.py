"""POSTER++: the encoder with a linear classifier and cross-entropy, the baseline of Table 5."""

from __future__ import annotations

from torch import Tensor

from arbex.methods.base import Method, MethodOptions, TrainingBatch, primary_loss


class Poster(Method[MethodOptions]):
    """Training without correction: the corrected distribution is the primary one."""

    name = "poster"
    mixes = True

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the cross-entropy."""
        return {"class": primary_loss(batch)}
