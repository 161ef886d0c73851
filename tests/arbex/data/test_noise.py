"""Wrong labels on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbex.data.noise import KINDS, look_alikes, with_noise
from arbex.data.samples import FaceSet, Sample
from arbex.errors import InputError
from arbex.settings import CHOICES
from arbex.spec import EXPRESSIONS

SET = FaceSet(
    Path("/data"),
    "train",
    ("a", "b", "c"),
    tuple(Sample(Path(f"/data/{i}"), i % 3, votes=(1, 2, 3)) for i in range(60)),
)


def changed(share: float, seed: int = 0) -> set[int]:
    noisy = with_noise(SET, share, seed)
    return {i for i, (one, other) in enumerate(zip(SET.samples, noisy.samples, strict=True)) if one != other}


@given(st.floats(0, 1), st.integers(0, 100))
def test_exactly_a_share_is_wrong_and_loses_its_votes(share: float, seed: int) -> None:
    noisy = with_noise(SET, share, seed)
    wrong = [s for one, s in zip(SET.samples, noisy.samples, strict=True) if one.label != s.label]
    assert len(wrong) == round(60 * share) == len(changed(share, seed))
    assert all(s.votes == () and 0 <= s.label < 3 for s in wrong)
    assert [s.file for s in noisy.samples] == [s.file for s in SET.samples]


@given(st.floats(0, 1), st.floats(0, 1))
def test_less_noise_is_a_part_of_more(one: float, other: float) -> None:
    few, many = sorted((one, other))
    assert changed(few) <= changed(many)


def test_noise_depends_on_the_seed() -> None:
    assert changed(0.3) == changed(0.3)
    assert changed(0.3) != changed(0.3, seed=1)


def test_folders_may_have_other_names_for_the_classes() -> None:
    assert look_alikes(("angry", "disgust", "sad", "neutral")) == (1, 0, 3, 2)


def test_look_alikes_are_taken_for_each_other() -> None:
    faces = FaceSet(
        Path("/data"), "train", EXPRESSIONS, tuple(Sample(Path(f"/data/{i}"), i % 7, votes=(1,) * 7) for i in range(70))
    )
    noisy = with_noise(faces, 0.4, 0, "look-alike")
    wrong = {
        (EXPRESSIONS[one.label], EXPRESSIONS[other.label])
        for one, other in zip(faces.samples, noisy.samples, strict=True)
        if one.label != other.label
    }
    assert len(wrong) == 7
    assert {("fear", "surprise"), ("anger", "disgust"), ("sadness", "neutral"), ("happiness", "surprise")} <= wrong
    # The same images are wrong as with other classes.
    uniform = with_noise(faces, 0.4, 0)
    assert [s.votes for s in noisy.samples] == [s.votes for s in uniform.samples]


def test_classes_without_look_alikes_are_refused() -> None:
    with pytest.raises(InputError, match="there is no look-alike of a, b, c among the classes"):
        with_noise(SET, 0.2, 0, "look-alike")


def test_the_setting_has_the_kinds_that_there_are() -> None:
    assert CHOICES["label_noise_kind"] == KINDS
