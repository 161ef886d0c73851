"""``--set name=value``."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from arbex.errors import InputError, UnsupportedError
from arbex.settings import TrainSettings, assign, override


def test_values_take_the_type_of_the_default() -> None:
    s = override(TrainSettings(), ["epochs=3", "learning-rate=1e-3", "bounded_anchor_loss=false", "schedule=cosine"])
    assert (s.epochs, s.learning_rate, s.bounded_anchor_loss, s.schedule) == (3, 1e-3, False, "cosine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs", "The setting 'epochs' has no value. Allowed: name=value."),
        ("epochs=many", "epochs is 'many'. Allowed: a whole number, such as "),
        ("learning_rate=fast", "learning_rate is 'fast'. Allowed: a number, such as "),
        ("soft_targets=maybe", "soft_targets is 'maybe'. Allowed: true, false."),
        ("batch_size=0", "batch_size is 0. Allowed: 2 to 100000."),
        ("learning_rate=12", "learning_rate is 12.0. Allowed: 1e-12 to 10."),
        ("learning_rate=nan", "learning_rate is nan. Allowed: 1e-12 to 10."),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        override(TrainSettings(), [text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=3", "The setting 'epoch' is not known. Allowed: augmentation, "),
        ("schedule=step", "schedule is 'step'. Allowed: exponential, cosine, one-cycle, restarts."),
    ],
)
def test_an_unknown_name_is_refused_with_those_there_are(text: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^{re.escape(message)}"):
        override(TrainSettings(), [text])


def test_an_unknown_name_lists_names_that_are_known_elsewhere_too() -> None:
    with pytest.raises(UnsupportedError, match="class_share, .*form, "):
        override(TrainSettings(), ["nonsense=1"], also=["form", "class_share"])


def test_assignments_apply_at_once_and_leave_those_of_others() -> None:
    @dataclass(frozen=True)
    class Pair:
        low: int = 0
        high: int = 1

        def __post_init__(self) -> None:
            assert self.low < self.high

    # Applied one after the other, the 5 would meet the default 1.
    assert assign(Pair(), ["low=5", "epochs=3", "high=9"]) == (Pair(5, 9), ["epochs=3"])


def test_round_trip() -> None:
    s = TrainSettings(epochs=4, schedule="cosine")
    assert TrainSettings.from_json(s.to_json()) == s


def test_runs_of_the_first_version_keep_their_augmentation() -> None:
    stored = TrainSettings().to_json()
    found = [TrainSettings.from_json({**stored, "augmentation": old}).augmentation for old in (True, False, "light")]
    assert found == ["heavy", "none", "light"]


def test_runs_of_the_first_version_keep_their_weight_of_the_center_loss() -> None:
    stored = {**TrainSettings().to_json(), "lambda_centre": 0.2}
    del stored["lambda_center"]
    assert TrainSettings.from_json(stored).lambda_center == 0.2
