"""POSTER++: the encoder with a linear classifier and cross-entropy, the baseline of Table 5."""

from __future__ import annotations

from torch import Tensor, nn

from arbex.methods.base import Lesson, Method, MethodOptions, cross_entropy
from arbex.models.head import LinearHead


class Poster(Method[MethodOptions]):
    """No correction: corrected and primary distribution are the same."""

    name = "poster"

    def build_head(self, in_features: int, num_classes: int, *, anchors: int) -> nn.Module:
        """Returns a linear classifier; ``anchors`` has no meaning here."""
        return LinearHead(in_features, num_classes)

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns the cross-entropy."""
        return {"class": cross_entropy(lesson.balance.primary, lesson.targets, lesson.settings.label_smoothing)}
