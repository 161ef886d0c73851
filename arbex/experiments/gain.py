"""The gain of the reliability head over a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arbex.experiments.paper import TABLE_2, TABLE_2_NOISE
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import bars
from arbex.experiments.statistics import PERCENT, Estimate, estimate, paired
from arbex.experiments.tables import markdown_table, percent

HEAD = (
    *("noise", "corrected %", "primary %", "poster %"),
    *("gain over poster", "on validation", "gain over primary", "paper's gain"),
)
NOTE = (
    "Gains are mean differences between runs of the same seed, with their 95 % intervals. `poster` is the same encoder "
    "with a linear classifier, `primary` the same run before the correction. The gain on validation compares the best "
    "epochs; settings should be tuned on it. The paper's gain is that of K = 10 over K = 0 on Aff-Wild2 (Table 2)."
)


def setting_name(method: str, noise: int) -> str:
    """Returns the name of a setting."""
    return f"{method}, noise {noise} %"


def published_gain(noise: int) -> float:
    """Returns the paper's gain of 10 anchors over none at a level of label noise, in percentage points (Table 2)."""
    column = TABLE_2_NOISE.index(noise)
    return TABLE_2[10][column] - TABLE_2[0][column]


def compare(results: Results, noise: int) -> dict[str, Estimate]:
    """Returns accuracies and gains at a level of label noise in percent."""
    ours = setting_name("arbex", noise)
    corrected, primary = (results.values(ours, "accuracy", primary=p) for p in (False, True))
    linear = results.values(setting_name("poster", noise), "accuracy")
    best = [[max(outcome.curve) for outcome in results.of(setting_name(m, noise))] for m in ("arbex", "poster")]
    return {
        "corrected": estimate(corrected),
        "primary": estimate(primary),
        "poster": estimate(linear),
        "gain_over_poster": paired(corrected, linear),
        "gain_on_validation": paired(*best),
        "gain_over_primary": paired(corrected, primary),
    }


class Gain(Experiment):
    """The corrected distribution compared with the primary one and with a linear classifier, with and without noise."""

    name = "gain"
    noises: Sequence[int] = (0, 20)

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each method and level of noise."""
        return [
            Setting(setting_name(method, noise), method=method, assignments=(f"label_noise={noise / PERCENT:g}",))
            for noise in self.noises
            for method in ("arbex", "poster")
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns accuracies, and differences between runs of the same seed."""
        rows, figures = [], {}
        shown: dict[str, Estimate] = {}
        for noise in self.noises:
            found = compare(results, noise)
            cells = [percent(value, sign=name.startswith("gain")) for name, value in found.items()]
            rows.append([f"{noise} %", *cells, f"{published_gain(noise):+.2f}"])
            figures[f"noise {noise} %"] = {name: value.to_json() for name, value in found.items()}
            shown |= {f"{name}\n{noise} % noise": found[name] for name in ("corrected", "primary", "poster")}
        plot = bars(out / "gain.png", list(shown), list(shown.values()), "distribution and label noise", "accuracy")
        body = f"{markdown_table(HEAD, rows)}\n\n{NOTE}"
        return Report(
            title="Does the reliability head earn its place?",
            body=body,
            figures=figures,
            plots=(plot,),
        )
