"""Tables 4 and 5 and Figure 7, with the figures of the paper next to those of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

from arbex.experiments.comparison import DIFFERENCES, cells
from arbex.experiments.paper import TABLE_4, TABLE_5
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import bars, lines
from arbex.experiments.statistics import PERCENT, Estimate, estimate
from arbex.methods import METHODS, method_class

LINEAR: Final = "poster"
"""Method with a linear classifier and cross-entropy, with which the others are compared."""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    written = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*written, *("| " + " | ".join(row) + " |" for row in rows)])


def percent(value: Estimate, *, sign: bool = False) -> str:
    """Returns an estimate of a share in percent."""
    return value.text(scale=PERCENT, sign=sign)


def macro(results: Results, setting: str, name: str) -> list[float]:
    """Returns the mean precision or recall over classes of each run of a setting."""
    by_run = [outcome.scores.corrected.per_class.values() for outcome in results.of(setting)]
    return [fmean(getattr(one, name) for one in classes if one.n) for classes in by_run]


class Table4(Experiment):
    """Scores by the weight of the anchor loss, in both forms of the loss."""

    name = "table-4"
    none = "none (x0)"
    factors = {"ideal (x1)": 1.0, "high (x100)": 100.0, "low (x0.01)": 0.01, none: 0.0}
    forms = {
        "bounded": ("bounded_anchor_loss=true",),
        "as printed": ("bounded_anchor_loss=false", "anchor_pairs=all"),
    }

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each weight and form."""
        usual = budget.settings_of("arbex").lambda_anchor
        return [
            Setting(
                f"{factor}, {form}",
                assignments=(*(() if times == 1 else (f"lambda_anchor={usual * times:g}",)), *value),
            )
            for form, value in self.forms.items()
            for factor, times in self.factors.items()
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns precision, accuracy, F1 and recall."""
        rows, figures, labels, values = [], {}, [], []
        for form in self.forms:
            for factor in self.factors:
                name = f"{factor}, {form}"
                found = {
                    "precision": estimate(macro(results, name, "precision")),
                    "accuracy": estimate(results.values(name, "accuracy")),
                    "f1": estimate(results.values(name, "macro_f1")),
                    "recall": estimate(macro(results, name, "recall")),
                }
                published = " / ".join(f"{value:.1f}" for value in TABLE_4[factor])
                gain = None if factor == self.none else results.difference(name, f"{self.none}, {form}")
                rows.append([factor, form, *(percent(value) for value in found.values()), *cells(gain), published])
                figures[name] = {key: value.to_json() for key, value in found.items()}
                figures[name] |= {} if gain is None else {"gain": gain.to_json()}
                labels.append(f"{factor}\n{form}")
                values.append(found["accuracy"])
        columns = ("precision %", "accuracy %", "F1 %", "recall %")
        head = ("weight", "form", *columns, f"accuracy over {self.none}", "McNemar's p", "paper: the same four")
        plot = bars(out / "table-4.png", labels, values, "weight of the anchor loss", "accuracy")
        note = "Precision, F1 and recall are means over classes. The paper gives neither the data set nor the weight."
        return Report(
            title="Table 4: weight of the anchor loss",
            body=f"{markdown_table(head, rows)}\n\n{note} {DIFFERENCES}",
            figures=figures,
            plots=(plot,),
        )


class Table5(Experiment):
    """All methods on the same encoder."""

    name = "table-5"
    teacher = LINEAR
    """Method of the teacher that generates label distributions for methods that need one."""

    older = "poster-v1"
    """Preset of the network before POSTER++."""

    columns = {"accuracy": "accuracy %", "balanced_accuracy": "balanced %", "macro_f1": "macro-F1 %", "ece": "ECE %"}

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each method, and one for POSTER where its encoder is as large as that of the others."""
        methods = [
            Setting(name, method=name, teacher=self.teacher if method_class(name).needs_teacher else None)
            for name in METHODS
        ]
        older = [Setting(self.older, method="poster", preset=self.older)] if budget.preset == "base" else []
        return [*methods, *older]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns one row per method."""
        rows, figures, values = [], {}, []
        names = [setting.name for setting in self.settings(budget)]
        for name in names:
            found = {key: estimate(results.values(name, key)) for key in self.columns}
            loss = estimate(results.values(name, "nll"))
            published = TABLE_5.get(name)
            theirs = "-" if published is None else " / ".join("-" if v is None else f"{v:.2f}" for v in published)
            gain = None if name == LINEAR else results.difference(name, LINEAR)
            shown = [*(percent(value) for value in found.values()), loss.text(digits=3)]
            rows.append([name, *shown, *cells(gain), theirs])
            figures[name] = {key: value.to_json() for key, value in (*found.items(), ("nll", loss))}
            figures[name] |= {} if gain is None else {"gain": gain.to_json()}
            values.append(found["accuracy"])
        head = (
            "method",
            *self.columns.values(),
            "NLL",
            f"over {LINEAR}",
            "McNemar's p",
            "paper: Aff-Wild2 / RAF-DB / JAFFE / FER+ / FERG",
        )
        note = (
            "All methods train the same encoder from the same weights; the figures of the paper are those of the "
            "published systems, each with its own backbone and pretraining. Those for `poster` are of POSTER++."
        )
        older = f" `{self.older}` is POSTER, with an encoder of its own." if self.older in names else ""
        return Report(
            title="Table 5: methods",
            body=f"{markdown_table(head, rows)}\n\n{note}{older} {DIFFERENCES}",
            figures=figures,
            plots=(bars(out / "table-5.png", names, values, "method", "accuracy"),),
        )


class Figure7(Experiment):
    """Accuracy over epochs for several setups of the loss."""

    name = "fig-7"
    setups = {
        "ideal": Setting("ideal"),
        "anchor loss dominant": Setting(
            "anchor loss dominant", assignments=("lambda_anchor=10", "bounded_anchor_loss=false", "anchor_pairs=all")
        ),
        "no correction by anchors": Setting("no correction by anchors", anchors=0),
        "cross-entropy only": Setting("cross-entropy only", assignments=("lambda_anchor=0", "lambda_center=0")),
        "cross-entropy dominant": Setting("cross-entropy dominant", assignments=("lambda_class=10",)),
    }

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each line of the figure."""
        return list(self.setups.values())

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns the curves of the accuracy on validation, and the accuracy on test at the best epochs.

        With the setting ``patience``, runs may end early; curves are as long as that of the shortest run.
        """
        curves, rows, figures = {}, [], {}
        for name in self.setups:
            each = [outcome.curve for outcome in results.of(name)]
            curves[name] = [estimate(values) for values in zip(*each, strict=False)]
            value = estimate(results.values(name, "accuracy"))
            rows.append([name, percent(value), ", ".join(str(outcome.best_epoch) for outcome in results.of(name))])
            figures[name] = {
                "test": value.to_json(),
                "validation": [point.mean for point in curves[name]],
                "best_epochs": [outcome.best_epoch for outcome in results.of(name)],
            }
        plot = lines(out / "fig-7.png", curves, "epoch", "accuracy on validation")
        head = ("setup", "accuracy % on test", "best epoch on validation, by seed")
        return Report(
            title="Figure 7: setups of the loss",
            body=markdown_table(head, rows),
            figures=figures,
            plots=(plot,),
        )
