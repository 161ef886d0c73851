"""``--set name=value``."""

from __future__ import annotations

import pytest

from arbex.errors import InputError
from arbex.settings import TrainSettings, override


def test_values_take_the_type_of_the_default():
    s = override(TrainSettings(), ["epochs=3", "learning-rate=1e-3", "bounded_anchor_loss=false", "schedule=cosine"])
    assert (s.epochs, s.learning_rate, s.bounded_anchor_loss, s.schedule) == (3, 1e-3, False, "cosine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=3", "one of: augmentation"),
        ("epochs", "name=value"),
        ("epochs=many", "whole number"),
        ("learning_rate=fast", "not a number"),
        ("soft_targets=maybe", "neither true nor false"),
        ("schedule=step", "exponential, cosine"),
        ("batch_size=0", "2 to 100000"),
        ("images_per_class=0", "images_per_class=0"),
        ("learning_rate=nan", "learning_rate=nan"),
    ],
)
def test_mistakes_are_explained(text: str, message: str):
    with pytest.raises(InputError, match=message):
        override(TrainSettings(), [text])


def test_round_trip():
    s = TrainSettings(epochs=4, schedule="cosine")
    assert TrainSettings.from_json(s.to_json()) == s


def test_runs_of_the_first_version_keep_their_weight_of_the_center_loss():
    stored = {**TrainSettings().to_json(), "lambda_centre": 0.2}
    del stored["lambda_center"]
    assert TrainSettings.from_json(stored).lambda_center == 0.2
