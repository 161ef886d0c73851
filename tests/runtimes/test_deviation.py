"""An artifact is held to what it answered at export, in the same runtime, most strictly in the same version of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from arbex.errors import BundleError
from runtimes import Prediction, open_bundle
from runtimes.deviation import FACTOR, FLOOR, deviation, exceeded, limits_from
from runtimes.golden import Golden, pack_golden, read_golden
from runtimes.manifest import Deviation, Recorded, Thresholds
from runtimes.registry import find_format
from runtimes.verification import verify_bundle
from tests.runtimes.miniature import ARTIFACT, seal, write_miniature

VERSION = find_format("onnx").version
STRICT = Recorded(runtime="onnxruntime", version=VERSION, exact=False, limits=FLOOR)


def answers(corrected: list[list[float]], confidence: list[float]) -> Prediction:
    values = np.array(corrected, np.float32)
    return Prediction(values, values[:, ::-1], np.array(confidence, np.float32))


def test_the_figures_by_hand() -> None:
    """Largest differences per image: 0, 0.1 and 0.3 in the distributions, 0, 0.02 and 0.04 in the confidence."""
    one = answers([[0.5, 0.5], [0.6, 0.4], [0.8, 0.2]], [0.1, 0.2, 0.3])
    other = answers([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], [0.1, 0.22, 0.34])
    found = deviation(one, other)
    assert found.typical_error == pytest.approx(0.1, abs=1e-6)
    assert found.confidence_error == pytest.approx(0.02, abs=1e-6)
    expected = (0.6 * math.log(1.2) + 0.4 * math.log(0.8) + 0.8 * math.log(1.6) + 0.2 * math.log(0.4)) / 3
    assert found.mean_kl == pytest.approx(expected, rel=1e-5)
    assert found.primary_mean_kl == pytest.approx(expected, rel=1e-5)


def test_a_single_flipped_rounding_is_not_typical() -> None:
    one = answers([[0.5, 0.5]] * 8, [0.5] * 8)
    other = answers([[0.5, 0.5]] * 7 + [[0.49, 0.51]], [0.5] * 8)
    assert deviation(one, other).typical_error == 0


@pytest.mark.parametrize("output", [0, 1, 2])
def test_nan_is_infinitely_far(output: int) -> None:
    good = answers([[0.5, 0.5]], [0.5])
    bad = Prediction(*(a * np.nan if i == output else a for i, a in enumerate(good)))
    assert len(exceeded(deviation(good, bad), FLOOR)) == 4


def test_limits_leave_room_for_other_versions_and_have_a_floor() -> None:
    shown = Deviation(typical_error=0.1, mean_kl=1e-3, primary_mean_kl=1e-9, confidence_error=1e-3)
    limits = limits_from(shown, repeats=True)
    assert limits.mean_kl == FACTOR * 1e-3
    assert limits.primary_mean_kl == FLOOR.primary_mean_kl
    assert limits.typical_error == FLOOR.typical_error
    assert limits_from(shown, repeats=False).typical_error is None


def turned(folder: Path, *, recorded: Recorded) -> None:
    """Gives the miniature a scale that is 0.5 % off, and the manifest that belongs to it."""
    model = onnx.load(folder / ARTIFACT)
    model.graph.initializer[0].float_data[0] = 255 * 1.005
    onnx.save(model, folder / ARTIFACT)
    seal(folder, Thresholds(golden_kl=1e-3), recorded=recorded)


def test_a_small_change_is_found_in_the_same_version(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path / "cpu", Thresholds(golden_kl=1e-3), recorded=STRICT)
    assert verify_bundle(open_bundle(folder)).passed
    turned(folder, recorded=STRICT)
    (row,) = verify_bundle(open_bundle(folder)).artifacts
    assert not row.passed
    assert "typical error" in row.why
    assert "to its own answers at export exceeds 5.0e-06" in row.why


def test_another_version_has_more_room_and_another_runtime_only_that_of_pytorch(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path / "cpu", Thresholds(golden_kl=1e-3), recorded=STRICT)
    turned(folder, recorded=replace(STRICT, version="0.1"))
    assert verify_bundle(open_bundle(folder)).passed
    tight = replace(FLOOR, mean_kl=0.0)
    seal(folder, Thresholds(golden_kl=1e-3), recorded=replace(STRICT, version="0.1", limits=tight))
    assert not verify_bundle(open_bundle(folder)).passed
    seal(folder, Thresholds(golden_kl=1e-3), recorded=replace(STRICT, runtime="tensorrt", limits=tight))
    assert verify_bundle(open_bundle(folder)).passed


def test_answers_that_the_manifest_promises_must_be_there(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path / "cpu", Thresholds(golden_kl=1e-3))
    seal(folder, Thresholds(golden_kl=1e-3), recorded=STRICT)
    (row,) = verify_bundle(open_bundle(folder)).artifacts
    assert row.why == "the golden vectors lack its answers at export, which the manifest promises"


def test_golden_vectors_round_trip_with_all_answers(tmp_path: Path) -> None:
    one, two = answers([[0.5, 0.5]], [0.5]), answers([[0.25, 0.75]], [0.5])
    images = np.zeros((1, 8, 8, 3), np.uint8)
    golden = Golden(images=images, expected=one, programs={"int8": two}, recorded={"model.int8.onnx": two})
    (tmp_path / "golden.npz").write_bytes(pack_golden(golden))
    read = read_golden(tmp_path / "golden.npz")
    assert set(read.programs) == {"int8"}
    assert np.array_equal(read.recorded["model.int8.onnx"].corrected, two.corrected)
    assert np.array_equal(read.expected.corrected, one.corrected)
    (tmp_path / "golden.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError, match="golden vectors .* cannot be read"):
        read_golden(tmp_path / "golden.npz")
