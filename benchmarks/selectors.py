"""What could a reliability head know that its answers and their confidence do not say?

    python -m benchmarks.selectors RUN [RUN ...] --data DATA

The first table has the accuracy on the test split of the primary classifier, of the corrected distribution, and of a
choice among the answers of the parts that is right whenever one of them is: the most that choosing well could gain.

For each signal, the second table has the area under the curve of risk over coverage on the test split: the lower, the
better the signal ranks the answers. The answers themselves are the same for all signals. The last ones are logistic
regressions of being right on several signals, fitted to the validation images. Figures are means over the runs with
their 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray

from arbex.checkpoint import load_run
from arbex.cli.console import print_table
from arbex.data.loading import FaceDataset
from arbex.data.splits import read_split
from arbex.evaluation.metrics import area_under_risk, by_confidence, judge
from arbex.experiments.statistics import PERCENT, estimate
from arbex.models import ExpressionClassifier
from arbex.models.distributions import confidence
from arbex.prediction import BATCH, gather_evidence

Floats = NDArray[np.float64]

USUAL = "confidence: one minus the entropy"
HIGHEST = "probability of the answer"
MARGIN = "its margin over the next class"
LEAST = "the lowest of the parts' probabilities of the answer"
LEARNED = "learned from the corrected distribution"
LEARNED_FROM_PARTS = "learned from the parts, and from the distances to anchors"


class Signals(NamedTuple):
    """What a run says of n images.

    Attributes:
        probabilities: Corrected distributions [n, N].
        parts: Answers of the parts [2 or 3, n], the primary classifier first.
        labels: Classes [n].
        single: Signals that are used as they are [n], by their names.
        inputs: Inputs [n, F] of what is learned, by its name.
    """

    probabilities: Floats
    parts: NDArray[np.int64]
    labels: NDArray[np.int64]
    single: Mapping[str, Floats]
    inputs: Mapping[str, Floats]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the answers are right [n]."""
        return np.asarray(self.probabilities.argmax(1) == self.labels)

    def accuracies(self) -> dict[str, float]:
        """Returns the accuracy of the primary classifier, of the correction, and of the best choice among the parts."""
        right = self.parts == self.labels
        return {
            "primary classifier": float(right[0].mean()),
            "corrected distribution": float(self.right.mean()),
            "the best choice among the parts": float(right.any(0).mean()),
        }

    def risk(self, signal: Floats) -> float:
        """Returns the area under the curve of risk over coverage if a signal [n] decides what to answer first."""
        return area_under_risk(*by_confidence(judge(self.probabilities, signal, self.labels), np.ones(len(signal))))


def signals_of(model: ExpressionClassifier, data: str, split: str) -> Signals:
    """Returns the signals of a model with a reliability head."""
    images = FaceDataset(read_split(data, split, labels=model.labels), model.preprocessing.image_size)
    evidence = gather_evidence(model, images.batches(BATCH))
    with torch.inference_mode():
        found = model.head.balance(evidence, model.head.temperatures)
        certain = torch.cat([confidence(log_p) for log_p in (found.corrected, *found.parts)], 1)  # [n, 3 or 4]
        answers = found.corrected.argmax(1, keepdim=True)
        parts = torch.cat([part.gather(1, answers) for part in found.parts], 1)  # [n, 2 or 3]: log p of the answer
        ordered = found.corrected.exp().sort(1, descending=True).values
        logs = found.corrected.clamp_min(-20)
        which = torch.nn.functional.one_hot(answers[:, 0], found.corrected.shape[1])
        near = parts if evidence.closeness is None else evidence.closeness.flatten(1).topk(3, 1).values
        length = evidence.embedding.norm(dim=1, keepdim=True)
    single = {
        USUAL: certain[:, 0],
        HIGHEST: ordered[:, 0],
        MARGIN: ordered[:, 0] - ordered[:, 1],
        LEAST: parts.amin(1),
    }
    plain = torch.cat([logs, which], 1)
    every = torch.cat([plain, parts, certain, near, length], 1)
    return Signals(
        probabilities=found.corrected.exp().double().numpy(),
        parts=torch.stack([part.argmax(1) for part in found.parts]).numpy(),
        labels=images.labels.numpy(),
        single={name: value.double().numpy() for name, value in single.items()},
        inputs={LEARNED: plain.double().numpy(), LEARNED_FROM_PARTS: every.double().numpy()},
    )


def measured(run: Path, data: str) -> tuple[dict[str, float], dict[str, float]]:
    """Returns accuracies on the test split, and areas under the curve of risk over coverage of the signals."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = load_run(run)
    seen, test = (signals_of(model, data, split) for split in ("val", "test"))
    found = {name: test.risk(signal) for name, signal in test.single.items()}
    for name, inputs in seen.inputs.items():
        learned = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(inputs, seen.right)
        found[name] = test.risk(learned.predict_proba(test.inputs[name])[:, 1])
    return test.accuracies(), found


@click.command()
@click.argument("runs", metavar="RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--data", required=True, help="Data set that the runs were trained on.")
def main(runs: tuple[Path, ...], data: str) -> None:
    """Print what parts that are chosen well could know, and how well each signal ranks the answers."""
    accuracies, risks = zip(*(measured(run, data) for run in runs), strict=True)
    print_table(("answers of", "accuracy %"), over_runs(accuracies))
    click.echo()
    print_table(("answers ranked by", "risk over coverage %"), over_runs(risks))


def over_runs(found: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """Returns a row for each figure: its name, and its mean over runs with the interval."""
    return [[name, estimate([each[name] for each in found]).text(scale=PERCENT)] for name in found[0]]


if __name__ == "__main__":
    main()
