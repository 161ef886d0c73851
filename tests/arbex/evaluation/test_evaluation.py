"""Metrics against a confusion worked out by hand."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

import arbex
from arbex.checkpoint import open_run
from arbex.evaluation.scores import Evaluation, scores
from tests.reporters import Lines


def test_scores_of_four_images() -> None:
    p = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0], [0.6, 0.4, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    s = scores(p, labels, ("a", "b", "never"))
    assert s.accuracy == 0.75
    # recall 2/2 and 1/2; precision 2/3 and 1/1; f1 .8 and 2/3; the class that never occurs does not count
    assert s.balanced_accuracy == 0.75
    assert s.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert s.nll == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.7) + math.log(0.4)) / 4, abs=1e-6)
    # confidences .9 .8 .7 .6, right 1 1 1 0: gaps .1 .2 .3 .6 in four bins of one image each
    assert s.ece == pytest.approx((0.1 + 0.2 + 0.3 + 0.6) / 4, abs=1e-6)
    b = s.per_class["b"]
    assert (b.precision, b.recall, b.n) == (1.0, 0.5, 2)
    assert b.f1 == pytest.approx(2 / 3)
    assert s.per_class["never"].n == 0


def test_a_share_above_one_by_rounding_does_not_change_the_calibration_error() -> None:
    """torchmetrics takes all rows for logits, and softens them, as soon as one value is above 1."""
    p, labels = torch.tensor([[1.0, 0.0], [0.9, 0.1]]), torch.tensor([0, 0])
    above = p + torch.tensor([[1.2e-7, 0.0], [0.0, 0.0]])
    assert above.max() > 1
    assert scores(above, labels, ("a", "b")).ece == pytest.approx(0.05, abs=1e-6)


def test_a_certain_mistake_has_a_finite_likelihood() -> None:
    s = scores(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]), ("a", "b"))
    assert math.isfinite(s.nll)


def test_the_json_has_the_keys_of_the_interface_and_reads_back() -> None:
    """Scripts and earlier results rely on these keys and their order."""
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    corrected, primary = scores(p, torch.tensor([0, 1]), ("a", "b")), scores(p, torch.tensor([1, 1]), ("a", "b"))
    found = Evaluation(corrected=corrected, primary=primary, std_primary=0.25, std_corrected=0.5, n=2)
    value = json.loads(json.dumps(found.to_json()))
    each = ["accuracy", "balanced_accuracy", "macro_f1", "ece", "nll", "ece_equal_mass", "brier", "auroc", "aurc"]
    each += ["accuracy_at_90", "accuracy_at_70", "confusion", "per_class", "ci95"]
    rest = ["primary", "std_primary", "std_corrected", "n", "threshold", "coverage", "accuracy_of_sure"]
    rest += ["groups", "worst_group"]
    assert list(value) == [*each, *rest]
    assert list(value["primary"]) == each
    assert value["per_class"]["a"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 1}
    assert (value["accuracy"], value["primary"]["accuracy"]) == (1.0, 0.5)
    assert value["primary"]["confusion"] == [[0, 0], [1, 1]]
    assert (value["std_primary"], value["std_corrected"], value["n"]) == (0.25, 0.5, 2)
    assert Evaluation.from_json(value) == found


@pytest.fixture(scope="module")
def unsplit(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces without splits: 15 images of each of 7 classes, whose people are not known."""
    root = tmp_path_factory.mktemp("unsplit") / "faces"
    for folder in (faces / "train").iterdir():
        (root / folder.name).mkdir(parents=True)
        for image in sorted(folder.glob("*.png"))[:15]:
            shutil.copy(image, root / folder.name)
    return root


def train_quickly(data: Path, out: Path) -> Path:
    quick = {"images_per_class": 8, "batch_size": 14}
    return arbex.train(str(data), out=out, epochs=1, image_size=32, settings=quick)


def test_images_that_a_run_was_trained_on_do_not_measure_it(unsplit: Path, tmp_path: Path) -> None:
    run = train_quickly(unsplit, tmp_path / "run")
    for split in ("test", "val"):
        said = Lines()
        found = arbex.evaluate(run, str(unsplit), split=split, report=said)
        assert found.n == 14  # two of each class
        assert found.corrected.accuracy == pytest.approx(open_run(run).accuracy, abs=1e-6)
        assert "measured on the tenth of the images that was held out from training" in " ".join(said.lines)
    assert arbex.evaluate(run, str(unsplit), split="train").n == 91
    said = Lines()
    assert arbex.evaluate(run, str(unsplit), split="all", report=said).n == 105
    assert "the figures flatter it" in " ".join(said.lines)


@pytest.mark.parametrize("change", ["noise", "unreadable"])
def test_the_images_are_known_again_whatever_training_made_of_them(change: str, unsplit: Path, tmp_path: Path) -> None:
    data, settings = tmp_path / "faces", {"images_per_class": 8, "batch_size": 14}
    shutil.copytree(unsplit, data)
    if change == "noise":
        settings["label_noise"] = 0.2  # type: ignore[assignment]
    else:
        sorted((data / "anger").glob("*.png"))[5].write_text("no image")
        settings["max_unreadable"] = 0.1  # type: ignore[assignment]
    run = arbex.train(str(data), out=tmp_path / "run", epochs=1, image_size=32, settings=settings)
    assert arbex.evaluate(run, str(data), max_unreadable=0.1).n == 14


def test_a_folder_that_has_changed_since_the_training_is_measured_with_a_warning(unsplit: Path, tmp_path: Path) -> None:
    data, said = tmp_path / "faces", Lines()
    shutil.copytree(unsplit, data)
    run = train_quickly(data, tmp_path / "run")
    next((data / "anger").glob("*.png")).unlink()
    assert arbex.evaluate(run, str(data), report=said).n == 104
    assert "has changed since the run was trained on it" in " ".join(said.lines)


def test_training_images_are_named_as_such_where_there_are_splits(faces: Path, run: Path) -> None:
    for split, words in (("test", ""), ("val", ""), ("train", "the figures flatter it"), ("all", "flatter it")):
        said = Lines()
        arbex.evaluate(run, str(faces), split=split, report=said)
        assert words in " ".join(said.lines)
        assert bool(said.lines) == bool(words)


def test_an_untrained_run_is_measured_with_a_warning(unsplit: Path, tmp_path: Path) -> None:
    said = Lines()
    run = arbex.train(str(unsplit), out=tmp_path / "run", epochs=0, image_size=32)
    assert arbex.evaluate(run, str(unsplit), report=said).n == 105
    assert said.lines == [f"warning: {run} is untrained; its answers are random"]


def test_a_data_set_without_splits_measures_others_whole(unsplit: Path, run: Path) -> None:
    said = Lines()
    assert arbex.evaluate(run, str(unsplit), report=said).n == 105
    assert said.lines == []


def test_the_list_of_what_training_left_out_stays(unsplit: Path, tmp_path: Path) -> None:
    run = train_quickly(unsplit, tmp_path / "run")
    (run / "unreadable-val.log").write_text("of the training")
    broken = tmp_path / "faces"
    shutil.copytree(unsplit, broken)
    next((broken / "anger").glob("*.png")).write_text("no image")
    arbex.evaluate(run, str(broken), split="val", max_unreadable=0.1)
    assert (run / "unreadable-val.log").read_text() == "of the training"
    assert "anger" in (run / "unreadable-val-of-evaluation.log").read_text()
