"""EfficientFace: label distribution training (Zhao, Liu, Zhou, Robust Lightweight FER Network, AAAI 2021)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from arbex.methods.base import Method, MethodOptions, TrainingBatch, primary_loss
from arbex.settings import TrainSettings


class LabelDistribution(Method[MethodOptions]):
    """The label distributions of a trained generator, the teacher, replace the labels.

    ``L = -sum_i d_i log p_i``, where ``d`` is the generator's answer for the augmented image; its gradient is that of
    the divergence of ``p`` from ``d``, which is minimized here. The publication trains the generator on the same images
    first. Its lightweight network is not part of this method: the encoder is that of the preset.
    """

    name = "efficientface"
    mixes = True
    needs_teacher = True

    def adapt(self, settings: TrainSettings) -> TrainSettings:
        """Returns settings in which the teacher's unsoftened distribution is the only target of one classifier."""
        alone = replace(settings, distil_share=1.0, distil_temperature=1.0, distil_embedding=0.0, distil_mirrored=False)
        return replace(alone, lambda_tokens=0.0, lambda_class=1.0)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Returns the cross-entropy with the labels, to which the adapted settings give no weight."""
        return {"class": primary_loss(batch)}
