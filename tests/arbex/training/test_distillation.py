"""Distillation: divergences by hand, a teacher that stays as it is, and a student that learns from it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import arbex
from arbex.checkpoint import load_run, open_run, write_weights
from arbex.errors import RunError
from arbex.methods import load_method
from arbex.methods.base import StudentOutput
from arbex.models.distributions import log_softmax
from arbex.models.head import Balance
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.distillation import SIMILARITY_TEMPERATURE, Teacher, divergence, neighbors, soften
from arbex.training.loop import train

QUICK = override(PRESET_SETTINGS["tiny"], ["epochs=2", "images_per_class=8", "batch_size=8"])


def test_divergence_of_two_coins() -> None:
    teacher, student = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    assert divergence(teacher, student).item() == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert divergence(teacher, teacher).item() == 0


def test_a_temperature_of_two_takes_square_roots() -> None:
    p = torch.tensor([[0.64, 0.36]])
    assert soften(p.log(), 2.0).exp().squeeze().tolist() == pytest.approx([0.8 / 1.4, 0.6 / 1.4])


@given(st.floats(0.2, 10), st.lists(st.floats(-5, 5), min_size=2, max_size=8))
def test_softened_probabilities_sum_to_one_and_keep_their_order(temperature: float, logits: list[float]) -> None:
    log_p = log_softmax(torch.tensor([logits], dtype=torch.float64))
    softened = soften(log_p, temperature)
    assert softened.exp().sum().item() == pytest.approx(1)
    difference = log_p[..., None] - log_p[..., None, :]
    assert ((softened[..., None] - softened[..., None, :]) * difference >= -1e-9).all()


def test_neighbors_depend_on_angles_alone() -> None:
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    log_p = neighbors(embedding)
    assert log_p.shape == (3, 2)
    ratio = math.exp((math.sqrt(0.5) - 0.0) / SIMILARITY_TEMPERATURE)  # the first: third to second
    assert log_p[0].exp().tolist() == pytest.approx([1 / (1 + ratio), ratio / (1 + ratio)])
    turned = 3 * embedding @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    wider = torch.cat([turned, torch.zeros(3, 5)], 1)
    assert torch.allclose(neighbors(wider), log_p, atol=1e-5)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(run: Path) -> None:
    teacher = Teacher(load_run(run), temperature=3.0, embedding=1.0)
    images = torch.rand(4, 3, 64, 64) * 255
    student = load_run(run)
    balance = student.balance(teacher.normalize(images))
    losses = teacher.losses(balance, [StudentOutput(balance.corrected, 1.0)], balance.embedding)
    assert set(losses) == {"distil", "distil_embedding"}
    assert all(abs(value.item()) < 1e-5 for value in losses.values())


def test_the_mean_over_mirror_images_teaches(run: Path) -> None:
    images = torch.rand(4, 3, 64, 64) * 255
    one, both = (Teacher(load_run(run), 1.0, 0.0, mirrored=mirrored) for mirrored in (False, True))
    wanted = (one.balance(images).corrected.exp() + one.balance(images.flip(3)).corrected.exp()) / 2
    assert torch.allclose(both.balance(images).corrected.exp(), wanted, atol=1e-6)
    assert torch.allclose(both.balance(images).corrected, both.balance(images.flip(3)).corrected, atol=1e-5)
    assert torch.equal(both.balance(images).embedding, one.balance(images).embedding)


def test_every_answer_of_the_student_is_taught_with_its_weight(run: Path) -> None:
    teacher = Teacher(load_run(run), temperature=1.0, embedding=0.5)
    images = torch.rand(4, 3, 64, 64) * 255
    balance = teacher.balance(images)
    uniform = torch.full((4, 7), 1 / 7).log()
    distance = divergence(balance.corrected, uniform).item()
    losses = teacher.losses(
        balance, [StudentOutput(uniform, 1.0), StudentOutput(uniform, 0.25)], balance.embedding.roll(1, 0)
    )
    assert losses["distil"].item() == pytest.approx(1.25 * distance, rel=1e-4)
    apart = divergence(neighbors(balance.embedding), neighbors(balance.embedding.roll(1, 0))).item()
    assert losses["distil_embedding"].item() == pytest.approx(0.5 * apart, rel=1e-4)


def test_label_distribution_training_by_hand(run: Path) -> None:
    """EfficientFace: the generator's d in place of the labels; the gradient by the logits is that of -sum d log p."""
    method = load_method("efficientface")
    settings = method.adapt(override(QUICK, ["distil_temperature=4", "distil_embedding=2", "distil_share=0.3"]))
    assert settings.distil_share == 1  # the labels have no share
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().requires_grad_()
    embedding = torch.eye(2, 3)
    log_p = log_softmax(logits).expand(2, 3)
    log_d = torch.tensor([[0.7, 0.2, 0.1]]).log().expand(2, 3)
    teacher = Teacher(load_run(run), settings.distil_temperature, settings.distil_embedding)
    outputs = method.student_outputs(Balance(log_p, log_p, log_p, log_p, logits, embedding), settings)
    losses = teacher.losses(Balance(log_d, log_d, log_d, log_d, log_d, embedding), outputs, embedding)
    # 0.7 ln (0.7 / 0.5) + 0.2 ln (0.2 / 0.3) + 0.1 ln (0.1 / 0.2) = 0.23553 - 0.08109 - 0.06931
    assert losses["distil"].item() == pytest.approx(0.08512, abs=1e-5)
    assert losses["distil_embedding"] == 0
    (gradient,) = torch.autograd.grad(losses["distil"], logits)
    torch.testing.assert_close(gradient, torch.tensor([[0.5 - 0.7, 0.3 - 0.2, 0.2 - 0.1]]))


def test_the_share_of_the_teacher_is_taken_from_the_labels(faces: Path, run: Path, tmp_path: Path) -> None:
    """The first epoch's losses are those of the labels alone times what is left of them."""

    def first(name: str, *assignments: str, teacher: Path | None = None) -> dict[str, float]:
        fixed = ("epochs=1", "learning_rate=1e-12", "weight_decay=0", "lambda_tokens=1")
        settings = override(QUICK, [*fixed, *assignments])
        train(
            TrainRequest(
                data=str(faces), out=tmp_path / name, preset="tiny", method="arbex", settings=settings, teacher=teacher
            )
        )
        losses: dict[str, float] = json.loads((tmp_path / name / "metrics.jsonl").read_text())
        return losses

    alone, shared = first("alone"), first("shared", "distil_share=0.75", teacher=run)
    for name in ("class", "parts", "tokens", "anchor", "center"):
        assert shared[name] == pytest.approx(0.25 * alone[name], rel=1e-5)
    parts = ("class", "parts", "tokens", "anchor", "center", "distil", "distil_embedding")
    assert shared["loss"] == pytest.approx(sum(shared[name] for name in parts), rel=1e-5)
    assert min(shared["distil"], shared["distil_embedding"]) > 0


def test_a_teacher_stays_as_it_is_and_takes_any_size(run: Path) -> None:
    teacher = Teacher(load_run(run), temperature=3.0, embedding=1.0).train()
    assert not teacher.model.training
    assert teacher.balance(torch.rand(2, 3, 96, 96) * 255).corrected.shape == (2, 7)
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_a_teacher_computes_as_the_student_does(
    precision: str, dtype: torch.dtype, faces: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the precision and the order of memory of the training, in less than half of the time; heads in float32."""
    heads: set[torch.dtype] = set()
    seen: set[tuple[torch.dtype, bool]] = set()
    answer = Teacher.balance

    def recorded(self: Teacher, images: torch.Tensor) -> Balance:
        def record(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            seen.add((output.dtype, output.is_contiguous(memory_format=torch.channels_last)))

        convolutions = [module for module in self.model.modules() if isinstance(module, torch.nn.Conv2d)]
        handles = [module.register_forward_hook(record) for module in convolutions]
        found = answer(self, images)
        for handle in handles:
            handle.remove()
        heads.update(part.dtype for part in found)
        return found

    monkeypatch.setattr(Teacher, "balance", recorded)
    settings = override(QUICK, ["epochs=1", f"precision={precision}", "channels_last=true"])
    train(
        TrainRequest(
            data=str(faces), out=tmp_path / "run", preset="tiny", method="arbex", settings=settings, teacher=run
        )
    )
    assert seen == {(dtype, True)}
    assert heads == {torch.float32}


@pytest.mark.slow
def test_a_student_moves_toward_its_teacher(faces: Path, run: Path, tmp_path: Path) -> None:
    """Trained on nothing but the teacher's answers, a student of another seed comes closer to them."""
    only = ["distil_share=1", "encoder_gradient=all", "seed=5"]
    settings = override(QUICK, ["epochs=6", "images_per_class=32", "batch_size=16", *only])
    train(
        TrainRequest(
            data=str(faces), out=tmp_path / "student", preset="tiny", method="arbex", settings=settings, teacher=run
        )
    )
    rows = [json.loads(line) for line in (tmp_path / "student" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["distil"] < 0.8 * rows[0]["distil"]
    assert rows[-1]["distil_embedding"] < rows[0]["distil_embedding"]
    assert open_run(tmp_path / "student").config.data["teacher"] == open_run(run).digest


def test_a_teacher_of_other_classes_is_refused(faces: Path, run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["labels"] = config["labels"][::-1]
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps(config))
    (other / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    with pytest.raises(RunError, match="The teacher .* has the classes surprise"):
        train(
            TrainRequest(
                data=str(faces), out=tmp_path / "run", preset="tiny", method="arbex", settings=QUICK, teacher=other
            )
        )
    assert not (tmp_path / "run").exists()


def test_an_untrained_teacher_is_refused(faces: Path, run: Path, tmp_path: Path) -> None:
    untrained = tmp_path / "teacher"
    shutil.copytree(run, untrained)
    write_weights(untrained / "best.safetensors", load_run(run).state_dict(), {"epoch": "0"})
    with pytest.raises(RunError, match="The teacher .* is untrained: its answers are random"):
        arbex.train(str(faces), out=tmp_path / "run", teacher=untrained, epochs=1)
    assert not (tmp_path / "run").exists()


def test_the_backbone_of_a_teacher_is_asked_for_by_its_own_option(faces: Path, run: Path, tmp_path: Path) -> None:
    teacher, name = tmp_path / "teacher", "benchmarks.networks:plain_tiny"
    quick = {"images_per_class": "8", "batch_size": "8"}
    arbex.train(str(faces), out=teacher, backbone=name, image_size=32, epochs=1, settings=quick)
    with pytest.raises(RunError, match=f"was trained on the backbone {name}; .*add: --teacher-backbone {name}"):
        arbex.train(str(faces), out=tmp_path / "run", teacher=teacher, epochs=1)
    with pytest.raises(RunError, match="was trained with preset tiny, not on a:b. Leave --teacher-backbone out"):
        arbex.train(str(faces), out=tmp_path / "run", teacher=run, teacher_backbone="a:b", epochs=1)
    with pytest.raises(RunError, match="has no backbone of its own. Leave --backbone out"):
        arbex.evaluate(run, str(faces), backbone="a:b")
    assert not (tmp_path / "run").exists()
