"""A model is measured on a data set with other classes."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from arbex.data.class_map import parse_map
from arbex.data.splits import read_split
from arbex.errors import DataError, InputError

OF_THE_MODEL = ("neutral", "happiness", "anger")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for split, each in (("train", 3), ("test", 2)):
        for name in ("happy", "anger", "rage", "contempt"):
            for i in range(each):
                file = tmp_path / split / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (16, 16)).save(file)
    rows = "".join(f"test/{name}/0.png,,1 2 4 8\n" for name in ("happy", "contempt"))
    (tmp_path / "classes.txt").write_text("happy\nanger\nrage\ncontempt\n")
    (tmp_path / "labels.csv").write_text("file,subject,votes\n" + rows)
    return tmp_path


def test_classes_are_renamed_joined_and_left_out(faces: Path) -> None:
    mapping = parse_map(["happy=happiness", " rage = anger", "contempt=-"])
    found = read_split(str(faces), "test", labels=OF_THE_MODEL, mapping=mapping)
    assert found.labels == OF_THE_MODEL
    assert Counter(s.label for s in found.samples) == {1: 2, 2: 4}
    happy = next(s for s in found.samples if s.file.parent.name == "happy" and s.votes)
    assert happy.votes == (0, 1, 2 + 4)  # one for happy; anger and rage together; eight for what is left out


def test_all_splits_together(faces: Path) -> None:
    mapping = {"happy": "happiness", "rage": "-", "contempt": "-"}
    found = read_split(str(faces), "all", labels=OF_THE_MODEL, mapping=mapping)
    assert Counter(s.file.parent.parent.name for s in found.samples) == {"train": 6, "test": 4}
    assert len(read_split(str(faces), "all").samples) == 20


def test_a_class_of_one_split_alone_can_be_mapped(faces: Path) -> None:
    shutil.rmtree(faces / "test" / "rage")
    (faces / "classes.txt").unlink()
    (faces / "labels.csv").unlink()
    mapping = {"happy": "happiness", "rage": "anger", "contempt": "-"}
    found = read_split(str(faces), "all", labels=OF_THE_MODEL, mapping=mapping)
    assert Counter(s.label for s in found.samples) == {1: 5, 2: 3 + 3 + 2}


def test_a_class_that_is_neither_known_nor_mapped_is_refused_with_what_to_do(faces: Path) -> None:
    with pytest.raises(DataError, match=r"trained on neutral, happiness, anger. .*happy, contempt: --map happy=CLASS"):
        read_split(str(faces), "test", labels=OF_THE_MODEL, mapping={"rage": "anger"})


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"joy": "happiness"}, "no class 'joy' to map. Allowed: happy, anger, rage, contempt"),
        ({"happy": "joy"}, "'happy' of .* is mapped to 'joy', which the model does not have. Allowed: neutral"),
        ({name: "-" for name in ("happy", "anger", "rage", "contempt")}, "has no images of the classes neutral"),
    ],
)
def test_a_mapping_that_leads_nowhere_is_refused(faces: Path, mapping: dict[str, str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_split(str(faces), "test", labels=OF_THE_MODEL, mapping=mapping)


def test_the_people_who_are_held_out_need_not_show_every_class(tmp_path: Path) -> None:
    """Measuring leaves such classes out; a training chooses its epoch on these images, and needs them all."""
    rows = ["file,subject"]
    for name, people in (("happy", "ab"), ("anger", "b")):
        for i, person in enumerate(people):
            file = tmp_path / "train" / name / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16)).save(file)
            rows.append(f"train/{name}/{i}.png,{person}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    held = read_split(str(tmp_path), "val", labels=("happy", "anger"), mapping={})
    assert [held.labels[sample.label] for sample in held.samples] == ["happy"]
    with pytest.raises(DataError, match="'anger' has no images in the val part of .* which is split by people"):
        read_split(str(tmp_path), "val", labels=("happy", "anger"))


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    for name, count in (("happy", 3), ("anger", 1)):
        for i in range(count):
            file = tmp_path / "train" / name / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16)).save(file)
    with pytest.raises(DataError, match="'anger' has no images in the train part of .* which is split by class"):
        read_split(str(tmp_path), "train", hold_out=True)


@pytest.mark.parametrize("texts", [["happy"], ["=anger"], ["happy="], ["happy=-", "happy=anger"]])
def test_a_mapping_in_another_form_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="'happy|'=anger'"):
        parse_map(texts)
