"""Cross-validation: every person is tested once, by a run that has not seen them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

import arbex
from arbex.cli import invoke
from arbex.data.splits import read_split
from arbex.errors import InputError

PEOPLE = ("KA", "KL", "KM", "NA")
CODES = {"AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "NE": "neutral", "SA": "sadness"}
CODES |= {"SU": "surprise"}


@pytest.fixture(scope="module")
def jaffe(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people with three images of each expression, named as JAFFE names them."""
    root = tmp_path_factory.mktemp("jaffe")
    for i, (person, (code, name), number) in enumerate(product(PEOPLE, CODES.items(), (1, 2, 3))):
        source = sorted((faces / "train" / name).iterdir())[i % 12]
        Image.open(source).convert("L").save(root / f"{person}.{code}{number}.{i}.tiff")
    return root


def test_folds_deal_out_the_people(jaffe: Path) -> None:
    everyone = set()
    for part in (1, 2):
        test, train = (read_split(f"jaffe,fold={part}/2:{jaffe}", split) for split in ("test", "train"))
        people = [{sample.group for sample in split.samples} for split in (test, train)]
        assert not people[0] & people[1]
        assert people[0] | people[1] == set(PEOPLE)
        everyone |= people[0]
        assert len(test.samples) == len(train.samples) == 42
    assert everyone == set(PEOPLE)
    assert {sample.group for sample in read_split(f"jaffe,fold=1/2:{jaffe}", "test").samples} == {"KA", "KM"}


@pytest.mark.parametrize("fold", ["0/2", "3/2", "1/1", "first", "1"])
def test_a_fold_that_is_none_is_refused(jaffe: Path, fold: str) -> None:
    with pytest.raises(InputError, match=f"fold is '{fold}'. Allowed: i/n, such as 1/10"):
        read_split(f"jaffe,fold={fold}:{jaffe}", "test")


def test_more_folds_than_people_are_refused(jaffe: Path) -> None:
    with pytest.raises(InputError, match="has 4 people, which cannot be dealt out to 5 folds"):
        read_split(f"jaffe,fold=1/5:{jaffe}", "test")


@pytest.mark.parametrize("folds", ["1", "5", "some"])
def test_a_number_of_folds_that_does_not_fit_is_refused(jaffe: Path, tmp_path: Path, folds: str) -> None:
    with pytest.raises(InputError, match=f"--folds is '{folds}'. Allowed: 2 to 4, or people for one each."):
        arbex.train(f"jaffe:{jaffe}", out=tmp_path / "runs", folds=folds)
    assert not (tmp_path / "runs").exists()


def test_data_with_splits_cannot_be_dealt_out(faces: Path, jaffe: Path, tmp_path: Path) -> None:
    for data in (str(faces), f"jaffe,fold=1/2:{jaffe}"):
        with pytest.raises(InputError, match="cannot be dealt out to folds"):
            arbex.train(data, out=tmp_path / "runs", folds=2)


def test_one_person_is_left_out_at_a_time(jaffe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    command = ["train", "--data", f"jaffe:{jaffe}", "--out", str(out), "--folds", "people", "--epochs", "1"]
    command += ["--image-size", "32", "--set", "images_per_class=4", "--set", "batch_size=7"]
    assert invoke(command, "arbex") == 0
    shown = capfd.readouterr().out
    found = json.loads((out / "folds.json").read_text())
    assert [fold["people"] for fold in found["folds"]] == [[person] for person in PEOPLE]
    assert [fold["n"] for fold in found["folds"]] == [21] * 4
    mean = sum(fold["accuracy"] for fold in found["folds"]) / 4
    assert found["pooled"]["accuracy"] == pytest.approx(mean)
    assert found["pooled"]["n"] == 84
    assert f"all 84 images: accuracy {mean:.4f} (" in shown
    assert [line.split()[:2] for line in shown.splitlines()[2:6]] == [
        [f"fold-{i}", person] for i, person in enumerate(PEOPLE, 1)
    ]
    # The same again trains nothing anew.
    before = {path: path.stat().st_mtime_ns for path in out.glob("fold-*/metrics.jsonl")}
    assert len(before) == 4
    assert invoke(command, "arbex") == 0
    assert [len(path.read_text().splitlines()) for path in before] == [1] * 4
    assert json.loads((out / "folds.json").read_text()) == found


def test_what_is_sure_is_decided_by_the_run_that_answers(
    jaffe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    command = ["train", "--data", f"jaffe:{jaffe}", "--out", str(out), "--folds", "2", "--epochs", "1"]
    command += ["--image-size", "32", "--set", "images_per_class=4", "--set", "batch_size=7", "--coverage", "0.6"]
    assert invoke(command, "arbex") == 0
    found = json.loads((out / "folds.json").read_text())
    folds = [arbex.evaluate(out / f"fold-{i}", f"jaffe,fold={i}/2:{jaffe}") for i in (1, 2)]
    assert [fold["threshold"] for fold in found["folds"]] == [fold.threshold for fold in folds]
    assert folds[0].threshold != folds[1].threshold
    sure = [fold.n * (fold.coverage or 0.0) for fold in folds]
    right = [n * (fold.accuracy_of_sure or 0.0) for n, fold in zip(sure, folds, strict=True)]
    assert found["pooled"]["threshold"] is None
    assert found["pooled"]["coverage"] == pytest.approx(sum(sure) / 84)
    assert found["pooled"]["accuracy_of_sure"] == pytest.approx(sum(right) / sum(sure))
    assert f"by the threshold of each run: {sum(sure) / 84:.1%} of answers, of which" in capfd.readouterr().out


def test_the_table_fits_into_a_terminal_however_many_people_a_fold_has() -> None:
    from arbex.cli.train import few_or_number

    assert few_or_number(["KA", "KL", "KM"]) == "KA, KL, KM"
    assert few_or_number([f"S{i:03}" for i in range(40)]) == "40"
