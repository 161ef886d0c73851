"""Figures 5 and 6: distributions before and after correction, and maps of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arbex.checkpoint import load_run, open_run
from arbex.data.loading import FaceDataset
from arbex.evaluation.runs import read_images
from arbex.experiments.comparison import StoredAnswers
from arbex.experiments.paper import FIGURE_5, FIGURE_6
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import faces, scatter
from arbex.experiments.statistics import estimate
from arbex.experiments.tables import markdown_table, percent
from arbex.prediction import BATCH, predict
from arbex.progress import SILENT

SHOWN = 8
"""Number of faces in the plot of Figure 5."""

EMBEDDED = 1500
"""Number of images in the maps of Figure 6; more take longer and do not make them clearer."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers of a run for the n images of the test split.

    Attributes:
        images: Images, uint8 RGB ``[n, S, S, 3]``.
        labels: Classes ``[n]``.
        primary: Primary distributions ``[n, N]``.
        corrected: Corrected distributions ``[n, N]``.
        embedding: Embeddings ``[n, D]``.
        names: Names of the N classes.
        people: Person or video of each image; empty if unknown.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    primary: NDArray[np.float32]
    corrected: NDArray[np.float32]
    embedding: NDArray[np.float32]
    names: tuple[str, ...]
    people: tuple[str, ...]

    @property
    def summary(self) -> StoredAnswers:
        """What is kept of them in the run."""
        right, primary = (p.argmax(-1) == self.labels for p in (self.corrected, self.primary))
        return StoredAnswers(right=right, primary_right=primary, people=np.array(self.people))


def answers_of(run: str, data: str) -> Answers:
    """Returns the answers of a run for the test images of a data set, those that its scores are of."""
    model, opened = load_run(run), open_run(run)
    faces = read_images(opened, data, "test", {}, SILENT)
    most = opened.config.settings.max_unreadable
    images = FaceDataset(faces, model.preprocessing.image_size, most_unreadable=most)
    found = predict(model, images.batches(BATCH))
    return Answers(
        images=images.arrays(),
        labels=images.labels.numpy(),
        primary=found.primary.numpy(),
        corrected=found.corrected.numpy(),
        embedding=found.embedding.numpy(),
        names=model.labels,
        people=tuple(sample.group for sample in images.faces.samples),
    )


class Figure5(Experiment):
    """The effect of the correction on distributions."""

    name = "fig-5"

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns one setting: the method of the paper."""
        return [Setting("arbex")]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns the standard deviations of both distributions, and the numbers of answers repaired and spoiled."""
        evaluations = [outcome.scores for outcome in results.of("arbex")]
        spreads = {
            "primary": estimate([evaluation.std_primary for evaluation in evaluations]),
            "corrected": estimate([evaluation.std_corrected for evaluation in evaluations]),
        }
        rows = [[name, spread.text(digits=4), f"{FIGURE_5[name]}"] for name, spread in spreads.items()]
        spread = markdown_table(("distribution", "standard deviation", "paper, 60 images"), rows)
        found = answers_of(results.of("arbex")[0].run, data)
        before, after = (p.argmax(1) == found.labels for p in (found.primary, found.corrected))
        repaired, spoiled = ~before & after, before & ~after
        shown = np.flatnonzero(repaired)[:SHOWN]
        plots: tuple[str, ...] = ()
        if len(shown):
            pairs = [(found.primary[i], found.corrected[i]) for i in shown]
            truth = [int(found.labels[i]) for i in shown]
            plots = (faces(out / "fig-5.png", found.images[shown], pairs, truth, found.names),)
        both = {"primary": estimate(results.values("arbex", "accuracy", primary=True))}
        both["corrected"] = estimate(results.values("arbex", "accuracy"))
        accuracy = ", ".join(f"{name} {percent(value)} %" for name, value in both.items())
        body = (
            f"{spread}\n\nAccuracy: {accuracy}.\n\nFor {len(before)} test images and the first seed, the correction "
            f"repaired {int(repaired.sum())} answers and spoiled {int(spoiled.sum())}. The plot shows repaired ones; a "
            "star marks the true class."
        )
        figures = {name: value.to_json() for name, value in both.items()}
        counts = {"repaired": int(repaired.sum()), "spoiled": int(spoiled.sum()), "images": len(before)}
        return Report(
            title="Figure 5: distributions before and after correction",
            body=body,
            figures={**figures, **counts},
            plots=plots,
        )


class Figure6(Experiment):
    """Embeddings of three methods."""

    name = "fig-6"
    methods: Sequence[str] = ("arbex", "poster", "scn")

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each method."""
        return [Setting(name, method=name) for name in self.methods]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns scores of the clusters that the classes form, and maps of the first seed."""
        from sklearn.manifold import TSNE
        from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score

        rows, figures, maps = [], {}, {}
        classes: NDArray[np.int64] = np.zeros(0, np.int64)
        names: tuple[str, ...] = ()
        for method in self.methods:
            apart, dense = [], []
            for i, outcome in enumerate(results.of(method)):
                found = answers_of(outcome.run, data)
                apart.append(float(davies_bouldin_score(found.embedding, found.labels)))
                dense.append(float(calinski_harabasz_score(found.embedding, found.labels)))
                if i == 0:
                    chosen = np.random.default_rng(0).permutation(len(found.labels))[:EMBEDDED]
                    maps[method] = TSNE(random_state=0).fit_transform(found.embedding[chosen])
                    classes, names = found.labels[chosen], found.names
            both = estimate(apart), estimate(dense)
            theirs = FIGURE_6[method]
            rows.append([method, both[0].text(digits=3), both[1].text(digits=1), f"{theirs[0]:.3f} / {theirs[1]:.1f}"])
            figures[method] = {"davies_bouldin": both[0].to_json(), "calinski_harabasz": both[1].to_json()}
        head = ("method", "Davies-Bouldin (lower is better)", "Calinski-Harabasz (higher is better)", "paper")
        note = (
            "The scores are those of the embeddings on the test split, not of the maps. Embeddings of `arbex` have 128 "
            "dimensions; those of the other methods are the output of the encoder."
        )
        plot = scatter(out / "fig-6.png", maps, classes, names)
        return Report(
            title="Figure 6: embeddings",
            body=f"{markdown_table(head, rows)}\n\n{note}",
            figures=figures,
            plots=(plot,),
        )
