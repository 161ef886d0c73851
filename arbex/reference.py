"""PyTorch's answers as NumPy arrays: the reference that artifacts are held against."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from arbex.data.augmentation import Normalize
from arbex.models import ExpressionClassifier
from arbex.progress import SILENT, Reporter

BATCH = 16
Answers = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@torch.inference_mode()
def answer(model: ExpressionClassifier, images: NDArray[np.uint8], *, report: Reporter = SILENT) -> Answers:
    """Answers for images as a device gives them.

    Args:
        model: In eval mode.
        images: uint8 RGB ``[n, S, S, 3]``.
        report: Takes progress.

    Returns:
        corrected ``[n, N]``, primary ``[n, N]`` and confidence ``[n]``, float32.
    """
    normalize = Normalize(model.preprocessing)
    corrected, primary, confidence = [], [], []
    with report.bar("PyTorch reference", len(images)) as step:
        for i in range(0, len(images), BATCH):
            output = model(normalize(torch.from_numpy(images[i : i + BATCH]).permute(0, 3, 1, 2)))
            corrected.append(output.corrected.numpy())
            primary.append(output.primary.numpy())
            confidence.append(output.confidence.numpy())
            step(min(i + BATCH, len(images)))
    return np.concatenate(corrected), np.concatenate(primary), np.concatenate(confidence)
