"""What follows the last epoch: the best weights are calibrated on validation images, without a change of any weight."""

from __future__ import annotations

import torch
from torch import Tensor

from arbex.checkpoint import BEST, Calibration, load_run, read_metadata, read_weights, write_weights
from arbex.data.loading import FaceDataset
from arbex.evaluation.scores import scores
from arbex.models.distributions import confidence
from arbex.models.head import Temperatures
from arbex.prediction import BATCH, gather_evidence
from arbex.progress import Reporter
from arbex.training.configuration import TrainRequest
from arbex.training.temperatures import fit_temperatures


def confidence_threshold(confidences: Tensor, coverage: float) -> float | None:
    """Returns the confidence that a share of the images reaches; None if all of them shall.

    Args:
        confidences: Confidence of the answer to each image ``[n]``.
        coverage: Share of the images, in [0, 1].
    """
    if coverage == 1:
        return None
    return float(torch.quantile(confidences.double(), 1 - coverage, interpolation="lower"))


def calibrate_run(
    request: TrainRequest, validation: FaceDataset, device: torch.device, report: Reporter
) -> Calibration:
    """Fits temperatures and the threshold of unsure answers, and stores them with the best weights.

    Args:
        request: What was trained, and what is to be fitted.
        validation: Images that training has not seen.
        device: Where the model computes.
        report: Takes a line on what has changed.
    """
    model, file = load_run(request.out, backbone=request.backbone), request.out / BEST
    evidence = gather_evidence(model.to(device), validation.batches(BATCH))
    before, after = Temperatures(), Temperatures()
    if request.settings.calibrate:
        after = fit_temperatures(model.head, evidence, validation.labels)
    with torch.inference_mode():
        answers = [model.head.balance(evidence, temperatures).corrected for temperatures in (before, after)]
    old, new = (scores(log_p.exp(), validation.labels, model.labels) for log_p in answers)
    threshold = confidence_threshold(confidence(answers[1]).squeeze(-1), request.settings.coverage)
    found = Calibration(after, threshold, done=True)
    metadata = read_metadata(file) | {"val_accuracy": f"{new.accuracy:.6f}"}
    kept = {name: text for name, text in metadata.items() if name not in Calibration.NAMES}
    write_weights(file, read_weights(file), kept | found.to_metadata())
    if after != before:
        report.line(
            f"calibrated on validation (calibrate): NLL {old.nll:.3f} to {new.nll:.3f}, "
            f"ECE {old.ece:.3f} to {new.ece:.3f}"
        )
    if threshold is not None:
        report.line(f"answers with a confidence below {threshold:.3f} count as unsure (coverage)")
    return found
