"""Golden images: the same for the same model, and chosen so that defects show."""

from __future__ import annotations

import numpy as np
import pytest

from export.golden_images import EXTREMES, GOLDEN, PER_CLASS, candidates, choose, drawn_faces, golden_vectors
from runtimes.base import Prediction
from tests.programs import tiny_model


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return candidates(64)


def spread(count: int, seed: int = 0) -> Prediction:
    """Returns answers of all kinds."""
    values = np.random.default_rng(seed).dirichlet(np.full(7, 0.5), count).astype(np.float32)
    return Prediction(values, values, values.max(1))


def test_they_are_as_many_as_promised_and_all_different(faces: np.ndarray) -> None:
    chosen = choose(faces, spread(len(faces)))
    assert len(chosen) == GOLDEN == len(set(chosen.tolist()))


def test_extremes_of_light_every_class_and_close_calls_are_among_them(faces: np.ndarray) -> None:
    answers = spread(len(faces))
    chosen = set(choose(faces, answers).tolist())
    light = np.argsort(faces.reshape(len(faces), -1).mean(1), kind="stable")
    assert {*light[:EXTREMES].tolist(), *light[-EXTREMES:].tolist()} <= chosen
    for name in range(7):
        assert set(np.argsort(-answers.primary[:, name], kind="stable")[:PER_CLASS].tolist()) <= chosen
    two = np.sort(answers.corrected, 1)[:, -2:]
    closest = np.argsort(two[:, 1] - two[:, 0], kind="stable")
    assert set(closest[:30].tolist()) <= chosen


def test_the_same_model_has_the_same_ones() -> None:
    model = tiny_model()
    first, second = golden_vectors(model, 64), golden_vectors(model, 64)
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.expected.corrected, second.expected.corrected)
    assert len(first.images) == GOLDEN


def test_drawn_faces_are_not_changed_by_the_light_of_candidates(faces: np.ndarray) -> None:
    assert drawn_faces(64).shape == (32, 64, 64, 3)
    assert np.array_equal(drawn_faces(64), drawn_faces(64))
    assert faces.mean((1, 2, 3)).min() < 0.6 * drawn_faces(64).mean((1, 2, 3)).min()
