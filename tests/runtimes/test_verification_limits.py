"""Limits given to ``verify`` apply to the user's images; the manifest's limits apply to the golden vectors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from arbex.cli import invoke
from arbex.errors import ArbexError, InputError, UnsupportedError
from runtimes import Prediction, open_bundle
from runtimes.comparison_images import ComparisonImages
from runtimes.golden import Golden, pack_golden
from runtimes.limits import check_limits, parse_limits
from runtimes.manifest import Thresholds
from runtimes.verification import verify_bundle
from tests.runtimes.miniature import CLOSE, SIDE, answers, seal, write_miniature

TIGHT = {"mean_kl": 1e-6, "top1_agreement": 0.9}
IMAGES = np.random.default_rng(1).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)


def turned(prediction: Prediction) -> Prediction:
    """Returns other answers: every class has the probability of the next one."""
    corrected = np.roll(prediction.corrected, 1, axis=1)
    return Prediction(corrected, corrected, prediction.confidence)


@pytest.mark.parametrize(
    ("limit", "words"), [({"top1_agreement": 0.5}, "agreement 0.00%"), ({"mean_kl": 0.0}, "exceeds 0e")]
)
def test_an_explicit_limit_applies_where_the_manifest_has_none(
    limit: dict[str, float | None], words: str, tmp_path: Path
) -> None:
    bundle = open_bundle(write_miniature(tmp_path / "cpu", Thresholds()))
    expected = turned(answers(IMAGES))
    assert verify_bundle(bundle, [ComparisonImages(images=IMAGES, expected=expected)]).passed
    (row,) = verify_bundle(bundle, [ComparisonImages(images=IMAGES, expected=expected, limits=limit)]).artifacts
    assert not row.passed
    assert words in row.why
    good = answers(IMAGES)
    assert verify_bundle(bundle, [ComparisonImages(images=IMAGES, expected=good, limits=TIGHT)]).passed


def test_too_few_images_are_undecided_and_no_pass(tmp_path: Path) -> None:
    bundle = open_bundle(write_miniature(tmp_path / "cpu", Thresholds(top1_agreement=0.98)))
    few = ComparisonImages(images=IMAGES, expected=answers(IMAGES))
    (row,) = verify_bundle(bundle, [few]).artifacts
    assert (row.outcome, row.passed) == ("undecided", False)
    assert row.why.endswith("does not decide about 98.00%: needs about 200 images")
    assert verify_bundle(bundle, [replace(few, undecided_passes=True)]).passed
    wrong = replace(few, expected=turned(answers(IMAGES)), undecided_passes=True)
    assert not verify_bundle(bundle, [wrong]).passed


def test_images_are_decoded_and_compared_a_part_at_a_time(tmp_path: Path) -> None:
    bundle = open_bundle(write_miniature(tmp_path / "cpu"))
    many = np.random.default_rng(2).integers(0, 256, (600, SIDE, SIDE, 3), dtype=np.uint8)
    parts: list[int] = []

    class Recording:
        def __len__(self) -> int:
            return len(many)

        def __getitem__(self, part: slice) -> NDArray[np.uint8]:
            parts.append(len(many[part]))
            return many[part]

    (row,) = verify_bundle(bundle, [ComparisonImages(images=Recording(), expected=answers(many))]).artifacts
    assert row.passed, row.why
    assert row.parity is not None
    assert row.parity.samples == 600
    assert parts == [256, 256, 88]


def test_a_float_artifact_has_its_own_limit_in_addition_to_an_explicit_one(tmp_path: Path) -> None:
    bundle = open_bundle(write_miniature(tmp_path / "cpu", CLOSE))
    expected = Prediction(*(part + np.float32(1e-3) for part in answers(IMAGES)))
    (row,) = verify_bundle(
        bundle, [ComparisonImages(images=IMAGES, expected=expected, limits={"mean_kl": 1.0, "top1_agreement": 0.0})]
    ).artifacts
    assert row.why == "max error 1.00e-03 exceeds 1e-05"


@pytest.mark.parametrize("given", [["--max-kl", "0.1"], ["--min-agreement", "0.9"], ["--limit", "5"], ["--by", "skin"]])
def test_a_limit_without_images_is_refused(given: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_miniature(tmp_path / "cpu")
    assert invoke(["verify", str(folder), *given], "arbex") == 2
    assert f"{' '.join(given)} would have no effect, since there are no images" in capfd.readouterr().err


def test_the_golden_vectors_are_judged_by_the_manifest_alone(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path / "cpu", Thresholds())
    golden = Golden(images=IMAGES, expected=turned(answers(IMAGES)))
    (folder / "golden.npz").write_bytes(pack_golden(golden))
    seal(folder, Thresholds())
    test = ComparisonImages(images=IMAGES, expected=answers(IMAGES), limits=TIGHT)
    assert verify_bundle(open_bundle(folder), [test]).passed
    seal(folder, Thresholds(mean_kl=1e-6, top1_agreement=1.0))
    assert verify_bundle(open_bundle(folder), [test]).passed
    seal(folder, Thresholds(golden_kl=1e-6))
    assert not verify_bundle(open_bundle(folder), [test]).passed


def test_a_limit_can_be_lifted(tmp_path: Path) -> None:
    bundle = open_bundle(write_miniature(tmp_path / "cpu", Thresholds(confidence_flips=0.0, mean_kl=1.0)))
    images = ComparisonImages(images=IMAGES, expected=answers(IMAGES))
    assert verify_bundle(bundle, [images]).artifacts[0].outcome == "undecided"
    assert verify_bundle(bundle, [replace(images, limits={"confidence_flips": None})]).passed


def test_thresholds_are_read_from_texts() -> None:
    assert parse_limits(["recall-change=-0.1", "ece_delta=none", "mean_kl=1e-3"]) == {
        "recall_change": -0.1,
        "ece_delta": None,
        "mean_kl": 1e-3,
    }


def test_a_mapping_of_thresholds_is_checked_like_texts() -> None:
    assert check_limits({"mean_kl": 0.1, "ece_delta": None}) == {"mean_kl": 0.1, "ece_delta": None}
    with pytest.raises(UnsupportedError, match="golden_kl"):
        check_limits({"golden_kl": 1.0})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("mean_kl", InputError, "has no value. Allowed: name=value"),
        ("golden_kl=1", UnsupportedError, "golden_kl"),
        ("top1_agreement=98", InputError, "The threshold top1_agreement is '98'. Allowed: 0 to 1, or none."),
        ("mean_kl=nan", InputError, "Allowed: 0 to inf"),
        ("mean_kl=small", InputError, "'small'"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(text: str, error: type[ArbexError], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        parse_limits([text])
