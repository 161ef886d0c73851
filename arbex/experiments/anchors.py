"""Tables 1 to 3: accuracy by the number of anchors, alone and with wrong or smoothed labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from arbex.experiments.comparison import DIFFERENCES, cells
from arbex.experiments.paper import TABLE_1, TABLE_1_WITHOUT, TABLE_2, TABLE_2_NOISE, TABLE_3, TABLE_3_SMOOTHING
from arbex.experiments.plan import Budget, Experiment, Report, Results, Setting
from arbex.experiments.plots import bars, heat_map
from arbex.experiments.statistics import PERCENT, estimate
from arbex.experiments.tables import markdown_table, percent

SMOOTHING_OF_TABLES_1_AND_2: Final = ("label_smoothing=0",)
"""Their rows for 10 anchors are those of Table 3 for no smoothing."""

UNSMOOTHED = "Labels are not smoothed, as in the paper's Tables 1 and 2."
ZERO = "With K = 0, attention alone corrects; the paper's K = 0 has no correction at all."
PUBLISHED = "The figures of the paper are those of the full-size model on Aff-Wild2: compare the trend, not the level."

UNCORRECTED: Final = "no correction"
"""The paper's K = 0: its accuracy in Table 3, 69.18, is that of POSTER++ in Table 5."""

WITHOUT_ANCHORS: Final = "0"
"""Attention alone corrects, for which the paper has no figure."""


def anchor_rows(counts: Sequence[int], assignments: tuple[str, ...] = ()) -> dict[str, Setting]:
    """Returns a setting for no correction, attention alone and each number of anchors, by the name of the row."""
    settings = {
        UNCORRECTED: Setting(UNCORRECTED, assignments=("correction=none", *assignments)),
        WITHOUT_ANCHORS: Setting("K=0", anchors=0, assignments=assignments),
    }
    return settings | {str(k): Setting(f"K={k}", anchors=k, assignments=assignments) for k in counts}


class Table1(Experiment):
    """Accuracy by the number of anchors per class."""

    name = "table-1"

    def rows(self, budget: Budget) -> dict[str, Setting]:
        """Returns the setting of each row by its name."""
        return anchor_rows(tuple(TABLE_1) if budget.grid else (1, 4, 10, 20), SMOOTHING_OF_TABLES_1_AND_2)

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each number of anchors, and one without any correction."""
        return list(self.rows(budget).values())

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns accuracies, and differences from no correction."""
        rows, figures, values = [], {}, []
        published = {UNCORRECTED: f"{TABLE_1_WITHOUT:.2f}"} | {str(k): f"{gain:+.2f}" for k, gain in TABLE_1.items()}
        for name, setting in self.rows(budget).items():
            value = estimate(results.values(setting.name, "accuracy"))
            gain = results.difference(setting.name, UNCORRECTED)
            values.append(value)
            shown = cells(None if name == UNCORRECTED else gain)
            rows.append([name, percent(value), *shown, published.get(name, "-")])
            figures[name] = {"accuracy": value.to_json(), "gain": gain.to_json()}
        plot = bars(out / "table-1.png", list(figures), values, "anchors per class K", "accuracy")
        head = ("K", "accuracy %", f"over {UNCORRECTED}", "McNemar's p", "paper: accuracy, gain")
        return Report(
            title="Table 1: number of anchors",
            body=f"{markdown_table(head, rows)}\n\n{UNSMOOTHED} {ZERO} {DIFFERENCES} {PUBLISHED}",
            figures=figures,
            plots=(plot,),
        )


class Grid(Experiment):
    """Accuracy by the number of anchors and one other number.

    A subclass gives the title, the values of the other number on the grid of the paper (``columns_all``) and in short
    (``columns_few``), the accuracies of the paper, the setting that the number belongs to, its name, and what else all
    runs have in common.
    """

    title: str
    columns_all: Sequence[int]
    columns_few: Sequence[int]
    published: Mapping[int, Sequence[float]]
    setting_name: str
    column_name: str
    in_common: tuple[str, ...] = ()
    note: str = ZERO
    rows_few: Sequence[int] = (1, 10)

    def columns(self, budget: Budget) -> Sequence[int]:
        """Returns the values of the other number."""
        return self.columns_all if budget.grid else self.columns_few

    def rows(self, budget: Budget) -> dict[str, Setting]:
        """Returns what a row has in all columns, by its name."""
        counts = [k for k in self.published if k] if budget.grid else self.rows_few
        return anchor_rows(counts, self.in_common)

    def cell(self, row: Setting, column: int) -> Setting:
        """Returns the setting of a cell."""
        own = f"{self.setting_name}={column / PERCENT:g}"
        return replace(row, name=f"{row.name}-{column}", assignments=(*row.assignments, own))

    def settings(self, budget: Budget) -> list[Setting]:
        """Returns a setting for each cell."""
        return [self.cell(row, c) for row in self.rows(budget).values() for c in self.columns(budget)]

    def published_gain(self, row: str, column: int) -> str:
        """Returns the paper's gain over no correction in percentage points, after a semicolon; empty if it has none."""
        if row == WITHOUT_ANCHORS:
            return ""
        place = list(self.columns_all).index(column)
        return f"; {self.published[int(row)][place] - self.published[0][place]:+.2f}"

    def report(self, results: Results, budget: Budget, data: str, out: Path) -> Report:
        """Returns two tables: accuracies, and differences from no correction next to those of the paper."""
        rows, columns = self.rows(budget), self.columns(budget)
        places = {(name, c): self.cell(row, c).name for name, row in rows.items() for c in columns}
        means = {place: estimate(results.values(setting, "accuracy")) for place, setting in places.items()}
        gains = {
            (name, c): results.difference(setting, places[UNCORRECTED, c])
            for (name, c), setting in places.items()
            if name != UNCORRECTED
        }
        head = [f"K \\ {self.column_name} %", *map(str, columns)]
        first = markdown_table(head, [[name, *(percent(means[name, c]) for c in columns)] for name in rows])
        second = markdown_table(
            head,
            [
                [name, *(gains[name, c].text() + self.published_gain(name, c) for c in columns)]
                for name in rows
                if name != UNCORRECTED
            ],
        )
        plot = heat_map(
            out / f"{self.name}.png",
            [[means[name, c].mean * PERCENT for c in columns] for name in rows],
            list(rows),
            [str(c) for c in columns],
            ("anchors per class K", f"{self.column_name} %", "accuracy %"),
        )
        body = (
            f"Accuracy in percent\n\n{first}\n\n"
            f"Difference from {UNCORRECTED}, its interval, and after a semicolon that of the paper\n\n{second}\n\n"
            f"{self.note} {DIFFERENCES} {PUBLISHED}"
        )
        figures = {
            f"K={name}, {c} %": {
                "accuracy": value.to_json(),
                **({"gain": gains[name, c].to_json()} if name != UNCORRECTED else {}),
            }
            for (name, c), value in means.items()
        }
        return Report(title=self.title, body=body, figures=figures, plots=(plot,))


class Table2(Grid):
    """Accuracy by the share of wrong training labels."""

    name = "table-2"
    title = "Table 2: anchors and label noise"
    columns_all, columns_few = TABLE_2_NOISE, (0, 20, 40)
    published = TABLE_2
    setting_name, column_name = "label_noise", "noise"
    in_common, note = SMOOTHING_OF_TABLES_1_AND_2, f"{UNSMOOTHED} {ZERO}"


class Table3(Grid):
    """Accuracy by label smoothing."""

    name = "table-3"
    title = "Table 3: anchors and label smoothing"
    columns_all, columns_few = TABLE_3_SMOOTHING, (0, 11, 30)
    published = TABLE_3
    setting_name, column_name = "label_smoothing", "smoothing"
