"""PyTorch's answers as NumPy arrays: the reference that artifacts are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arbex.models import ExpressionClassifier
from arbex.prediction import BATCH, predict
from arbex.progress import SILENT, Reporter, Step


class Answers(NamedTuple):
    """The outputs of an exported graph for n images and N classes, float32.

    Attributes:
        corrected: Probabilities after reliability balancing [n, N].
        primary: Probabilities before it [n, N].
        confidence: Confidence of the corrected distribution [n], in [0, 1].
    """

    corrected: NDArray[np.float32]
    primary: NDArray[np.float32]
    confidence: NDArray[np.float32]


def answer(model: ExpressionClassifier, images: NDArray[np.uint8], *, report: Reporter = SILENT) -> Answers:
    """Returns a model's answers for images in the layout of a device.

    Args:
        model: The model.
        images: uint8 RGB ``[n, S, S, 3]``.
        report: Receives progress.
    """
    with report.bar("PyTorch reference", len(images)) as step:
        found = predict(model, batches(images, step))
    return Answers(found.corrected.numpy(), found.primary.numpy(), found.confidence.numpy())


def batches(images: NDArray[np.uint8], step: Step) -> Iterator[Tensor]:
    """Yields images ``[n, S, S, 3]`` as tensors ``[B, 3, S, S]`` and reports how many have been answered."""
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        yield torch.from_numpy(batch).permute(0, 3, 1, 2)
        step(start + len(batch))
