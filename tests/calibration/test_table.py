"""The calibration table: merging is order-free, files are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbex.errors import DataError
from calibration import CalibrationTable, TensorRange

NAMES = ("image", "relu", "linear")
finite = st.floats(-100, 100, allow_nan=False)
ranges = st.tuples(finite, finite).map(lambda v: TensorRange(min(v), max(v)))
tables = st.builds(
    lambda values, digest: CalibrationTable(dict(zip(NAMES, values, strict=True)), "c", "p", (digest,), 10),
    st.tuples(ranges, ranges, ranges),
    st.text("0123456789abcdef", min_size=4, max_size=4),
)


@given(tables, tables)
def test_merging_is_commutative(a: CalibrationTable, b: CalibrationTable):
    assert a.merge(b) == b.merge(a)


@given(tables, tables, tables)
def test_merging_is_associative(a: CalibrationTable, b: CalibrationTable, c: CalibrationTable):
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


@given(tables, tables)
def test_a_merged_range_covers_both(a: CalibrationTable, b: CalibrationTable):
    merged = a.merge(b)
    for name in NAMES:
        assert merged.ranges[name].low == min(a.ranges[name].low, b.ranges[name].low)
        assert merged.ranges[name].high == max(a.ranges[name].high, b.ranges[name].high)
    assert merged.images == 20


def table(**change: object) -> CalibrationTable:
    values: dict[str, object] = {
        "ranges": {"image": TensorRange(-2.0, 2.5)},
        "checkpoint": "c",
        "preprocessing": "p",
        "samples": ("s",),
        "images": 8,
    }
    return CalibrationTable(**{**values, **change})  # type: ignore[arg-type]


def test_round_trip_through_a_file(tmp_path: Path):
    table().save(tmp_path / "t.json")
    read = CalibrationTable.load(tmp_path / "t.json")
    assert read == table()
    assert read.digest == table().digest


@pytest.mark.parametrize("name", ["checkpoint", "preprocessing", "calibrator"])
def test_tables_of_different_origin_do_not_merge(name: str):
    with pytest.raises(DataError, match=f"differ in {name}"):
        table().merge(table(**{name: "other"}))


def test_tables_of_different_graphs_do_not_merge():
    with pytest.raises(DataError, match="different graphs"):
        table().merge(table(ranges={"relu": TensorRange(0.0, 1.0)}))


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"ranges": {"a": {"low": NaN, "high": 1}}}'])
def test_a_damaged_file_is_refused(content: str, tmp_path: Path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(DataError, match="no calibration table"):
        CalibrationTable.load(tmp_path / "t.json")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        CalibrationTable.load(tmp_path / "nowhere.json")
