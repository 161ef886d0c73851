"""EfficientFace: label distribution training (Zhao, Liu, Zhou, Robust Lightweight FER Network, AAAI 2021)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from arbex.methods.base import Lesson, Method, MethodOptions, primary_loss
from arbex.settings import TrainSettings


class LabelDistribution(Method[MethodOptions]):
    """The distributions of a trained generator, the teacher, take the place of the labels.

    ``L = -sum_i d_i log p_i`` with ``d`` the generator's answer for the very image that the model sees, and no label.
    The publication's lightweight network is another matter: here the encoder is the preset's.
    """

    name = "efficientface"
    needs_teacher = True

    def adapt(self, settings: TrainSettings) -> TrainSettings:
        """Returns settings in which the teacher's distribution, as it is, makes the whole loss."""
        return replace(settings, distil_share=1.0, distil_temperature=1.0, distil_embedding=0.0)

    def losses(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns the cross-entropy with the labels, of which the settings leave nothing."""
        return {"class": primary_loss(lesson)}
