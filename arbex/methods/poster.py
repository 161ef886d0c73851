"""POSTER++: the encoder with a linear classifier and cross-entropy, the baseline of Table 5."""

from __future__ import annotations

from torch import Tensor

from arbex.methods.base import Lesson, Method, MethodOptions, primary_loss


class Poster(Method[MethodOptions]):
    """No correction: corrected and primary distribution are the same."""

    name = "poster"

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns the cross-entropy."""
        return {"class": primary_loss(lesson)}
