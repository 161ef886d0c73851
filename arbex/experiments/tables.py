"""Tables 1 to 5 and Figure 7, with the figures of the paper next to those of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from arbex.experiments.paper import (
    TABLE_1,
    TABLE_1_WITHOUT,
    TABLE_2,
    TABLE_2_NOISE,
    TABLE_3,
    TABLE_3_SMOOTHING,
    TABLE_4,
    TABLE_5,
)
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import bars, heat_map, lines
from arbex.experiments.statistics import PERCENT, Estimate, estimate, paired
from arbex.methods import METHODS, method_class

PUBLISHED = "The figures of the paper are those of the full-size model on Aff-Wild2: compare the trend, not the level."


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


class Table1(Experiment):
    """Accuracy by the number of anchors per class."""

    name = "table-1"

    def anchors(self, budget: Budget) -> tuple[int, ...]:
        """Returns the numbers of anchors."""
        return (0, *TABLE_1) if budget.grid else (0, 1, 4, 10, 20)

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each number of anchors."""
        return [Setting(f"K={k}", anchors=k) for k in self.anchors(budget)]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns accuracies, and gains over no anchors between runs of the same seed."""
        rows, figures, values = [], {}, []
        none = results.values("K=0", "accuracy")
        for k in self.anchors(budget):
            each = results.values(f"K={k}", "accuracy")
            value, gain = estimate(each), paired(each, none)
            values.append(value)
            published = f"{TABLE_1[k]:+.2f}" if k else f"{TABLE_1_WITHOUT:.2f}"
            rows.append([str(k), percent(value), "" if k == 0 else percent(gain, sign=True), published])
            figures[str(k)] = {"accuracy": value.to_json(), "gain": gain.to_json()}
        plot = bars(
            out / "table-1.png", [str(k) for k in self.anchors(budget)], values, "anchors per class K", "accuracy"
        )
        head = ("K", "accuracy %", "gain over K = 0", "paper: accuracy, gain")
        return Report(
            title="Table 1: number of anchors",
            body=f"{markdown_table(head, rows)}\n\n{PUBLISHED}",
            figures=figures,
            plots=(plot,),
        )


class Grid(Experiment):
    """Accuracy by the number of anchors and one other number.

    A subclass gives the title, the values of the other number on the grid of the paper (``columns_all``) and in short
    (``columns_few``), the accuracies of the paper, the setting that the number belongs to, and its name.
    """

    title: str
    columns_all: Sequence[int]
    columns_few: Sequence[int]
    published: Mapping[int, Sequence[float]]
    setting_name: str
    column_name: str
    rows_few: Sequence[int] = (0, 1, 10)

    def axes(self, budget: Budget) -> tuple[Sequence[int], Sequence[int]]:
        """Returns the values of both axes: the number of anchors, and the other number."""
        return (tuple(self.published), self.columns_all) if budget.grid else (self.rows_few, self.columns_few)

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each cell."""
        anchors, columns = self.axes(budget)
        return [
            Setting(f"K={k}-{c}", anchors=k, assignments=(f"{self.setting_name}={c / PERCENT:g}",))
            for k in anchors
            for c in columns
        ]

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns two tables: accuracies, and gains over no anchors next to those of the paper."""
        anchors, columns = self.axes(budget)
        cells = {(k, c): results.values(f"K={k}-{c}", "accuracy") for k in anchors for c in columns}
        means = {place: estimate(values) for place, values in cells.items()}
        gains = {(k, c): paired(cells[k, c], cells[0, c]) for k in anchors if k for c in columns}
        place = {c: list(self.columns_all).index(c) for c in columns}
        theirs = {(k, c): self.published[k][place[c]] - self.published[0][place[c]] for k, c in gains}
        head = [f"K \\ {self.column_name} %", *map(str, columns)]
        first = markdown_table(head, [[str(k), *(percent(means[k, c]) for c in columns)] for k in anchors])
        second = markdown_table(
            head,
            [
                [str(k), *(f"{percent(gains[k, c], sign=True)} ({theirs[k, c]:+.2f})" for c in columns)]
                for k in anchors
                if k
            ],
        )
        plot = heat_map(
            out / f"{self.name}.png",
            [[means[k, c].mean * PERCENT for c in columns] for k in anchors],
            [str(k) for k in anchors],
            [str(c) for c in columns],
            ("anchors per class K", f"{self.column_name} %", "accuracy %"),
        )
        body = (
            f"Accuracy in percent\n\n{first}\n\n"
            f"Gain over K = 0 between runs of the same seed, with that of the paper in parentheses\n\n{second}"
        )
        figures = {f"K={k}, {c} %": value.to_json() for (k, c), value in means.items()}
        return Report(title=self.title, body=f"{body}\n\n{PUBLISHED}", figures=figures, plots=(plot,))


class Table2(Grid):
    """Accuracy by the share of wrong training labels."""

    name = "table-2"
    title = "Table 2: anchors and label noise"
    columns_all, columns_few = TABLE_2_NOISE, (0, 20, 40)
    published = TABLE_2
    setting_name, column_name = "label_noise", "noise"


class Table3(Grid):
    """Accuracy by label smoothing."""

    name = "table-3"
    title = "Table 3: anchors and label smoothing"
    columns_all, columns_few = TABLE_3_SMOOTHING, (0, 11, 30)
    published = TABLE_3
    setting_name, column_name = "label_smoothing", "smoothing"


class Table4(Experiment):
    """Scores by the weight of the anchor loss, in both forms of the loss."""

    name = "table-4"
    factors = {"ideal (x1)": 1.0, "high (x100)": 100.0, "low (x0.01)": 0.01, "none (x0)": 0.0}
    forms = {
        "bounded": ("bounded_anchor_loss=true",),
        "as printed": ("bounded_anchor_loss=false", "anchor_pairs=all"),
    }

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each weight and form."""
        from arbex.settings import PRESET_SETTINGS

        usual = PRESET_SETTINGS[budget.preset].lambda_anchor
        return [
            Setting(
                f"{factor}, {form}",
                assignments=(f"lambda_anchor={usual * times:g}", *value),
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
                rows.append([factor, form, *(percent(value) for value in found.values()), published])
                figures[name] = {key: value.to_json() for key, value in found.items()}
                labels.append(f"{factor}\n{form}")
                values.append(found["accuracy"])
        head = ("weight", "form", "precision %", "accuracy %", "F1 %", "recall %", "paper: the same four")
        plot = bars(out / "table-4.png", labels, values, "weight of the anchor loss", "accuracy")
        note = "Precision, F1 and recall are means over classes. The paper gives neither the data set nor the weight."
        return Report(
            title="Table 4: weight of the anchor loss",
            body=f"{markdown_table(head, rows)}\n\n{note}",
            figures=figures,
            plots=(plot,),
        )


class Table5(Experiment):
    """All methods on the same encoder."""

    name = "table-5"
    teacher = "poster"
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
            rows.append([name, *(percent(value) for value in found.values()), loss.text(digits=3), theirs])
            figures[name] = {key: value.to_json() for key, value in (*found.items(), ("nll", loss))}
            values.append(found["accuracy"])
        head = ("method", *self.columns.values(), "NLL", "paper: Aff-Wild2 / RAF-DB / JAFFE / FER+ / FERG")
        note = (
            "All methods train the same encoder from the same weights; the figures of the paper are those of the "
            "published systems, each with its own backbone and pretraining. Those for `poster` are of POSTER++."
        )
        older = f" `{self.older}` is POSTER, with an encoder of its own." if self.older in names else ""
        return Report(
            title="Table 5: methods",
            body=f"{markdown_table(head, rows)}\n\n{note}{older}",
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
        """Returns the curves of the accuracy on validation, and the accuracy on test at the best epochs."""
        curves, rows, figures = {}, [], {}
        for name in self.setups:
            each = [outcome.curve for outcome in results.of(name)]
            curves[name] = [estimate(values) for values in zip(*each, strict=True)]
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
