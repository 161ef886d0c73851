"""The one loop over many images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import load_run
from arbex.data.loading import FaceDataset
from arbex.data.splits import read_split
from arbex.prediction import BATCH, predict
from arbex.progress import Reporter, Step
from arbex.reference import answer


class Steps(Reporter):
    """Remembers the progress of one bar."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        yield self.steps.append


def test_batches_are_joined_in_order(run: Path, faces: Path) -> None:
    model = load_run(run)
    images = FaceDataset(read_split(str(faces), "train"), 64)
    assert len(images) % 8 == 6
    found = predict(model, images.batches(8))
    assert [len(values) for values in found] == [len(images)] * 4
    with torch.no_grad():
        for i in (0, 7, 8, len(images) - 1):
            (alone,) = predict(model, [images[i][0][None]]).corrected
            torch.testing.assert_close(found.corrected[i], alone)


def test_a_model_in_training_answers_in_eval_mode_and_goes_on_training(run: Path) -> None:
    model = load_run(run)
    images = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    expected = predict(model, [images])
    model.train()
    found = predict(model, [images])
    assert model.training
    assert torch.equal(found.corrected, expected.corrected)  # dropout would make them differ
    with pytest.raises(RuntimeError):
        predict(model, [images[:, :1, :8, :8]])
    assert model.training


def test_mirrored_answers_do_not_depend_on_which_way_the_image_faces(run: Path) -> None:
    model = load_run(run)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    plain, other = predict(model, [images]), predict(model, [images.flip(3)])
    found, turned = predict(model, [images], mirrored=True), predict(model, [images.flip(3)], mirrored=True)
    torch.testing.assert_close(found.corrected, (plain.corrected + other.corrected) / 2)
    torch.testing.assert_close(found.primary, turned.primary)
    torch.testing.assert_close(found.confidence, turned.confidence)
    entropy = -(found.corrected * found.corrected.log()).sum(1)
    torch.testing.assert_close(found.confidence, 1 - entropy / math.log(7))


def test_the_reference_is_the_same_answers_for_a_devices_images(run: Path) -> None:
    model = load_run(run)
    images = torch.randint(0, 256, (BATCH + 3, 3, 64, 64), dtype=torch.uint8)
    report = Steps()
    found = answer(model, images.permute(0, 2, 3, 1).numpy(), report=report)
    expected = predict(model, [images[:BATCH], images[BATCH:]])
    for ours, theirs in zip(found, expected[:3], strict=True):
        assert torch.equal(torch.from_numpy(ours), theirs)
    assert report.steps == [BATCH, BATCH + 3]
