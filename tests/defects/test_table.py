"""The table of defects in the documentation is that of the suite."""

from __future__ import annotations

from pathlib import Path

from tests.defects.outcomes import FOUND, NOT_FOUND, counts, table

PAGE = Path(__file__).parents[2] / "docs/verification.md"


def test_the_page_has_the_table_and_the_counts() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert table() in text, "replace the table with what python -m tests.defects.outcomes prints"
    assert f"{counts()[FOUND]} of {counts()[FOUND] + counts()[NOT_FOUND]} are found" in text
