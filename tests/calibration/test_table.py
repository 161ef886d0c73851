"""The calibration table: merging does not depend on the order, and files are checked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arbex.errors import DataError, InputError
from calibration import CalibrationTable, Origin, TensorStatistics
from calibration.collector import Collector
from calibration.costs import Costs, to_costs
from calibration.observers import CANDIDATES, observe

NAMES = ("image", "relu", "linear")
TOOLS = {"torch": "2"}
ORIGIN = Origin("c", "p", "g", TOOLS)
rows = st.lists(st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4), min_size=1, max_size=5)
calibrators = st.sampled_from(["minmax", "moving-average", "percentile", "mse"])


def collect(values: list[list[float]]) -> TensorStatistics:
    collector = Collector("x", axis=1)
    collector.add(torch.tensor(values, dtype=torch.float32), len(values))
    assert collector.seen is not None
    return collector.seen


def make(values: list[list[float]], samples: str = "s", calibrator: str = "minmax") -> CalibrationTable:
    statistics = {name: collect([[v + i for v in row] for row in values]) for i, name in enumerate(NAMES)}
    return CalibrationTable.derive(statistics, ORIGIN, (samples,), len(values), calibrator)


@given(rows, rows, calibrators)
def test_merging_is_commutative(a: list[list[float]], b: list[list[float]], calibrator: str) -> None:
    x, y = make(a, "a", calibrator), make(b, "b", calibrator)
    assert x.merge(y) == y.merge(x)
    assert x.merge(y).digest == y.merge(x).digest


@given(rows, rows, rows, calibrators)
def test_merging_is_associative(
    a: list[list[float]], b: list[list[float]], c: list[list[float]], calibrator: str
) -> None:
    x, y, z = make(a, "a", calibrator), make(b, "b", calibrator), make(c, "c", calibrator)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))


@given(rows, rows, calibrators)
def test_shards_merge_to_the_table_of_all_images(a: list[list[float]], b: list[list[float]], calibrator: str) -> None:
    merged, whole = make(a, "a", calibrator).merge(make(b, "b", calibrator)), make(a + b, "ab", calibrator)
    assert merged.statistics == whole.statistics
    assert merged.ranges == whole.ranges
    assert merged.images == whole.images == len(a) + len(b)
    assert merged.samples == ("a", "b")


def table(samples: str = "s", calibrator: str = "minmax") -> CalibrationTable:
    return make([[-2.0, 0.0, 0.5, 2.5], [-1.0, 0.0, 0.25, 1.5]], samples, calibrator)


@pytest.mark.parametrize("calibrator", ["minmax", "entropy"])
def test_round_trip_through_files(calibrator: str, tmp_path: Path) -> None:
    written = table(calibrator=calibrator)
    written.save(tmp_path / "t.json")
    read = CalibrationTable.load(tmp_path / "t.json")
    assert read == written
    assert read.digest == written.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "t.safetensors"]


def test_the_file_shows_ranges_and_origin_to_people(tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    value = json.loads((tmp_path / "t.json").read_text())
    assert value["tensors"]["image"]["range"] == [-2.0, 2.5]
    assert (value["checkpoint"], value["graph"], value["tools"]) == ("c", "g", TOOLS)


def test_sums_by_channel_are_stored(tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    assert CalibrationTable.load(tmp_path / "t.json").ranges["image"].means == (-1.5, 0.0, 0.375, 2.0)


@pytest.mark.parametrize("change", [{"count": 0}, {"count": "many"}, {"count": None}])
def test_damaged_sums_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    table().save(path)
    value = json.loads(path.read_text())
    value["tensors"]["image"] |= change
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"t\.json is not a calibration table.*arbex calibrate"):
        CalibrationTable.load(path)


def test_other_ranges_need_no_images() -> None:
    assert table().with_calibrator("moving-average").ranges["image"].high == 2.0
    assert table().with_calibrator("moving-average") == table(calibrator="moving-average")


@pytest.mark.parametrize("name", ["checkpoint", "preprocessing", "graph", "tools"])
def test_tables_of_different_origin_do_not_merge(name: str) -> None:
    other = Origin(**{**vars(ORIGIN), name: {"torch": "3"} if name == "tools" else "other"})
    with pytest.raises(DataError, match=f"differ in {name}"):
        table().merge(CalibrationTable.derive(table().statistics, other, ("t",), 2))


def test_tables_of_different_calibrators_do_not_merge() -> None:
    with pytest.raises(DataError, match="differ in calibrator: minmax and mse"):
        table().merge(table("t", "mse"))


def test_tables_of_different_graphs_do_not_merge() -> None:
    fewer = CalibrationTable.derive({"relu": table().statistics["relu"]}, ORIGIN, ("t",), 2)
    with pytest.raises(DataError, match="different graphs"):
        table().merge(fewer)


def test_the_same_images_are_not_counted_twice() -> None:
    with pytest.raises(DataError, match="Both calibration tables hold the sample set"):
        table().merge(table())


def test_histograms_of_another_table_are_refused(tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    make([[1.0, 2.0, 3.0, 4.0]]).save(tmp_path / "other.json")
    (tmp_path / "other.safetensors").replace(tmp_path / "t.safetensors")
    with pytest.raises(DataError, match="its histograms are not those that it was written with"):
        CalibrationTable.load(tmp_path / "t.json")


def test_a_table_of_an_older_version_is_refused(tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    value = json.loads((tmp_path / "t.json").read_text())
    (tmp_path / "t.json").write_text(json.dumps({**value, "schema": 1}))
    with pytest.raises(DataError, match="its schema is 1, this version reads 2.*arbex calibrate"):
        CalibrationTable.load(tmp_path / "t.json")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema": 2, "tensors": {"a": {"range": [NaN, 1]}}}'])
def test_a_damaged_file_is_refused(content: str, tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(DataError, match="is not a calibration table"):
        CalibrationTable.load(tmp_path / "t.json")


def test_a_damaged_histogram_is_refused(tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    (tmp_path / "t.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="is not a calibration table"):
        CalibrationTable.load(tmp_path / "t.json")


def test_missing_histograms_are_named(tmp_path: Path) -> None:
    table().save(tmp_path / "t.json")
    (tmp_path / "t.safetensors").unlink()
    with pytest.raises(DataError, match=r"t\.safetensors cannot be read"):
        CalibrationTable.load(tmp_path / "t.json")


def test_nothing_is_left_where_a_table_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        table().save(tmp_path / "nowhere" / "t.json")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        CalibrationTable.load(tmp_path / "nowhere.json")


def costs_of(*cheapest: str) -> Costs:
    """Returns costs of 1 for the given observers, in the order of NAMES, and 2 for all others."""
    return to_costs({n: {o: 2.0 - (o == best) for o in CANDIDATES} for n, best in zip(NAMES, cheapest, strict=False)})


def test_auto_takes_the_cheapest_observer_of_each_tensor() -> None:
    found = table().with_costs(costs_of("mse", "minmax"))
    assert found.calibrator == "auto"
    assert found.observers == {"image": "mse", "relu": "minmax", "linear": "mse"}
    for name, observer in found.observers.items():
        assert found.ranges[name] == observe(observer, found.statistics[name])
    assert found.with_calibrator("minmax").with_calibrator("auto") == found
    assert found.with_calibrator("minmax").observers == dict.fromkeys(NAMES, "minmax")


def test_of_equal_costs_the_first_counts() -> None:
    even = table().with_costs({"image": (3, 3)})
    assert even.observers["image"] == "minmax"


def test_costs_that_are_not_finite_are_the_highest() -> None:
    costs = to_costs({"image": {"minmax": math.nan, "mse": 1.0}, "relu": {"minmax": math.inf, "mse": math.nan}})
    found = table().with_costs(costs)
    assert (found.observers["image"], found.observers["relu"]) == ("mse", "minmax")


def test_auto_needs_costs() -> None:
    with pytest.raises(DataError, match="not measured for this table.*minmax, .*--calibrator auto"):
        table().with_calibrator("auto")


def test_costs_add_up_when_tables_are_merged() -> None:
    one = table("s").with_costs({name: (5, 1) for name in NAMES})
    two = table("t").with_costs({name: (1, 6) for name in NAMES})
    assert one.observers["image"] == "mse"
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).costs["image"] == (6, 7)
    assert one.merge(two).observers["image"] == "minmax"


def test_costs_are_stored(tmp_path: Path) -> None:
    found = table().with_costs(costs_of("mse", "minmax", "mse"))
    found.save(tmp_path / "table.json")
    assert CalibrationTable.load(tmp_path / "table.json") == found


@pytest.mark.parametrize("costs", [[1], [1, 2, 3], [1, -2], [1, 0.5], "12", [1, True]])
def test_damaged_costs_are_refused(costs: object, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table().with_costs(costs_of("mse", "minmax", "mse")).save(path)
    value = json.loads(path.read_text())
    value["tensors"]["relu"]["costs"] = costs
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="costs of 'relu' are damaged"):
        CalibrationTable.load(path)


def test_tables_without_costs_from_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table(calibrator="mse").save(path)
    value = json.loads(path.read_text())
    assert all("costs" not in row for row in value["tensors"].values())
    path.write_text(json.dumps({**value, "schema": 2}))
    assert CalibrationTable.load(path) == table(calibrator="mse")
