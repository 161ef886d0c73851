"""Early-learning regularization, against figures worked out by hand and against what it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from arbex.checkpoint import load_run, read_weights
from arbex.errors import InputError
from arbex.methods.base import StudentOutput
from arbex.settings import override
from arbex.training.configuration import TrainRequest, adapted
from arbex.training.devices import make_fabric
from arbex.training.early_learning import EarlyLearning, against
from arbex.training.loop import train
from tests.arbex.training.test_loop import metrics, request


def log(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).log()


def test_memories_and_losses_are_those_of_the_formula() -> None:
    regularization = EarlyLearning(3, 2, weight=3.0, momentum=0.7)
    fabric = make_fabric(1, "32-true")
    answers, positions = log((0.8, 0.2), (0.4, 0.6)), torch.tensor([2, 0])
    found = regularization.loss(fabric, answers, positions, [StudentOutput(answers, 1.0)])
    # memories 0.3 * p; 1 - <p, memory> is 1 - 0.3 * 0.68 and 1 - 0.3 * 0.52
    expected = 3.0 * (torch.tensor([0.796, 0.844]).log()).mean()
    torch.testing.assert_close(found["early_learning"], expected)
    torch.testing.assert_close(regularization.memory, torch.tensor([[0.12, 0.18], [0.0, 0.0], [0.24, 0.06]]))
    other = log((0.5, 0.5))
    # 0.7 * 0.24 + 0.3 * 0.5 and 0.7 * 0.06 + 0.3 * 0.5; a part counts half and has an answer of its own
    part = log((0.9, 0.1))
    found = regularization.loss(fabric, other, torch.tensor([2]), [StudentOutput(other, 1.0), StudentOutput(part, 0.5)])
    torch.testing.assert_close(regularization.memory[2], torch.tensor([0.318, 0.192]))
    one, two = (1 - torch.tensor([0.5 * 0.318 + 0.5 * 0.192, 0.9 * 0.318 + 0.1 * 0.192])).log()
    torch.testing.assert_close(found["early_learning"], 3.0 * (one + 0.5 * two))


def test_views_of_an_image_are_remembered_as_their_mean() -> None:
    regularization = EarlyLearning(2, 2, weight=1.0, momentum=0.0)
    answers = log((0.8, 0.2), (0.4, 0.6), (0.6, 0.4), (0.2, 0.8))  # two images, then their mirror images
    regularization.loss(make_fabric(1, "32-true"), answers, torch.tensor([1, 0]), [StudentOutput(answers, 1.0)])
    torch.testing.assert_close(regularization.memory, torch.tensor([[0.3, 0.7], [0.7, 0.3]]))


def test_its_gradient_holds_against_a_wrong_label_and_helps_a_right_one() -> None:
    """The gradient of the cross-entropy with a wrong label all but vanishes beside it (the publication's point)."""
    remembered = torch.tensor([[0.05, 0.95]])
    logits = torch.tensor([[0.0, 1.0]], requires_grad=True)
    log_p = logits.log_softmax(-1)
    wrong = -log_p[0, 0]
    (alone,) = torch.autograd.grad(wrong, logits, retain_graph=True)
    (both,) = torch.autograd.grad(wrong + 3.0 * against(log_p, remembered), logits)
    assert alone[0, 0] < 0  # toward the wrong class
    assert both[0, 0] > alone[0, 0] + 0.5
    certain = torch.tensor([[0.0, 40.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(against(certain.log_softmax(-1), torch.tensor([[0.0, 1.0]])), certain)
    assert gradient.isfinite().all()  # though log(1 - 1) is not


def with_early_learning(faces: Path, out: Path, epochs: int, *, resume: bool = False) -> TrainRequest:
    asked = request(faces, out, epochs, resume=resume)
    return replace(asked, settings=override(asked.settings, ["early_learning=3", "precision=32-true"]))


def test_a_resumed_training_goes_on_with_its_memories(faces: Path, tmp_path: Path) -> None:
    train(with_early_learning(faces, tmp_path / "whole", 2))
    train(with_early_learning(faces, tmp_path / "parts", 1))
    memory = read_weights(tmp_path / "parts" / "resume.safetensors")["model.early_learning.memory"]
    assert sorted(set((10 * memory.sum(1)).round().tolist())) == [0, 3]  # images were seen once or not at all
    train(with_early_learning(faces, tmp_path / "parts", 2, resume=True))
    first, second = (load_run(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert metrics(tmp_path / "whole")[1]["early_learning"] < 0


def test_mixed_images_are_refused(faces: Path, tmp_path: Path) -> None:
    asked = with_early_learning(faces, tmp_path / "run", 1)
    with pytest.raises(InputError, match="early_learning is 3, and images are mixed"):
        adapted(replace(asked, settings=override(asked.settings, ["mixup=0.2"])))


def test_a_teacher_that_replaces_the_labels_leaves_nothing_to_remember(faces: Path, tmp_path: Path) -> None:
    asked = with_early_learning(faces, tmp_path / "run", 1)
    with pytest.raises(InputError, match="early_learning is 3, and the teacher's answers replace all labels"):
        adapted(replace(asked, method="efficientface", method_options=None, teacher=tmp_path))
