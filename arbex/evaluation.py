"""How good a model's distributions are: accuracy, calibration, likelihood, spread (section 4.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from arbex.checkpoint import load_run
from arbex.data.augmentation import Normalize
from arbex.data.loading import MOST_UNREADABLE, FaceDataset, log_unreadable
from arbex.data.splits import read_split
from arbex.models import ExpressionClassifier
from arbex.models.custom import Backbone
from arbex.progress import SILENT, Reporter

ECE_BINS = 15


@torch.inference_mode()
def predict(model: ExpressionClassifier, images: FaceDataset, *, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Returns corrected and primary distributions, both float32 ``[n, N]``, of all images in order."""
    device = next(model.parameters()).device
    normalize = Normalize(model.preprocessing).to(device)
    was_training = model.training
    model.eval()
    corrected, primary = [], []
    for pixels, *_ in DataLoader(images, batch_size=batch_size):
        output = model(normalize(pixels.to(device)))
        corrected.append(output.corrected.cpu())
        primary.append(output.primary.cpu())
    model.train(was_training)
    return torch.cat(corrected), torch.cat(primary)


def scores(probabilities: Tensor, labels: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    """Measures distributions ``[n, N]`` against labels ``[n]``.

    Returns:
        ``accuracy, balanced_accuracy, macro_f1`` in [0, 1], ``ece`` (15 equal bins, L1) in [0, 1], ``nll`` in
        nats, ``confusion``, where row i holds the images of class i by answer, and for each class ``precision,
        recall, f1, n``. Balanced accuracy and macro-F1 are over the classes that occur.
    """
    from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support
    from torchmetrics.functional.classification import multiclass_calibration_error

    truth, guess = labels.numpy(), probabilities.argmax(-1).numpy()
    classes = list(range(len(names)))
    precision, recall, f1, count = precision_recall_fscore_support(truth, guess, labels=classes, zero_division=0)
    occurs = count > 0
    ece = multiclass_calibration_error(probabilities, labels, len(names), n_bins=ECE_BINS, norm="l1")
    safe = probabilities.double().clamp_min(1e-12)
    return {
        "accuracy": float((truth == guess).mean()),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_f1": float(f1[occurs].mean()),
        "ece": float(ece),
        "nll": float(log_loss(truth, (safe / safe.sum(-1, keepdim=True)).numpy(), labels=classes)),
        "confusion": confusion_matrix(truth, guess, labels=classes).tolist(),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "n": int(count[i]),
            }
            for i, name in enumerate(names)
        },
    }


def evaluate(
    run: str,
    data: str,
    split: str = "test",
    *,
    backbone: Backbone | str | None = None,
    most_unreadable: float = MOST_UNREADABLE,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Measures a run on one split of a data set; ``backbone`` as for ``load_run``.

    Images that cannot be read are left out, up to a share of ``most_unreadable``, and named in a file in the run.

    Returns:
        ``scores`` of the corrected distribution, the same of the primary one under ``primary``, the standard
        deviations of both (over classes, mean over images: Fig. 5) and the number of images ``n``.

    Raises:
        RunError, DataError: If run or data cannot be used or do not belong together.
    """
    model = load_run(run, backbone=backbone)
    faces = read_split(data, split, labels=model.labels)
    with report.bar(f"reading {split}", len(faces.samples)) as step:
        images = FaceDataset(faces, model.preprocessing.image_size, most_unreadable=most_unreadable, progress=step)
    log_unreadable(images, Path(run) / f"unreadable-{split}.log", report)
    corrected, primary = predict(model, images)
    return {
        **scores(corrected, images.labels, model.labels),
        "primary": scores(primary, images.labels, model.labels),
        "std_primary": float(primary.std(-1).mean()),
        "std_corrected": float(corrected.std(-1).mean()),
        "n": len(images),
    }
