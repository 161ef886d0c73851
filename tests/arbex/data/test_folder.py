"""Reading folders, and refusing what cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arbex.data.layouts import open_layout
from arbex.data.samples import summary
from arbex.data.splits import read_split
from arbex.errors import DataError, UnsupportedError
from arbex.spec import EXPRESSIONS
from tests.unprivileged import run_unprivileged


def make(root: Path, layout: dict[str, int]) -> Path:
    for name, count in layout.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.full((16, 16, 3), i, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


def test_reads_labels_votes_and_subjects(faces: Path) -> None:
    train = read_split(str(faces), "train")
    assert train.labels == EXPRESSIONS
    assert all(sum(s.votes) == 10 and s.group.startswith("s") for s in train.samples)
    targets = train.targets(soft=True)
    assert targets.shape == (len(train.samples), 7)
    assert np.allclose(targets.sum(1), 1)
    assert (targets.argmax(1) == [s.label for s in train.samples]).mean() > 0.95
    assert set(np.unique(train.targets(soft=False))) == {0.0, 1.0}
    assert "of 6 people" in summary(train)


def test_classes_have_the_usual_order_not_the_alphabetical(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/anger": 1, "train/neutral": 1, "train/fear": 1})
    assert read_split(str(root), "train").labels == ("neutral", "anger", "fear")
    root = make(tmp_path / "odd", {"train/b": 1, "train/a": 1})
    assert read_split(f"folder:{root}", "train").labels == ("a", "b")


def test_validation_may_be_called_validation(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 2, "train/b": 2, "validation/a": 1, "validation/b": 1})
    assert len(read_split(str(root), "val").samples) == 2


@pytest.mark.parametrize(
    "names", [("Train", "Valid", "Test"), ("training", "dev", "TESTING"), ("TRAIN", "Val", "test")]
)
def test_splits_are_found_under_their_usual_names(names: tuple[str, str, str], tmp_path: Path) -> None:
    train, val, test = names
    root = make(tmp_path, {f"{name}/{c}": i for i, name in enumerate((train, val, test), 1) for c in ("a", "b")})
    assert [len(read_split(str(root), split).samples) for split in ("train", "val", "test")] == [2, 4, 6]


def test_what_looks_like_a_split_and_is_left_out_is_named(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 2, "train/b": 2, "Test_set/a": 1, "notes/pictures": 1, "val/a": 1, "val/c": 1})
    assert list(open_layout(str(root)).oddities(("a", "b"))) == [
        f"{root}/Test_set is left out: it is not named after a split",
        "the split 'val' has further classes: c",
        "the split 'val' lacks classes: b",
    ]
    assert list(open_layout(str(make(tmp_path / "whole", {"a": 1, "b": 1}))).oddities(("a", "b"))) == []


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "valid/a": 1, "valid/b": 1})
    with pytest.raises(DataError, match="two folders for the split 'val': val and valid"):
        read_split(str(root), "train")


def test_a_folder_of_data_sets_is_not_one(tmp_path: Path) -> None:
    root = make(
        tmp_path, {f"{own}/{split}/{c}": 1 for own in ("fer", "own") for split in ("train", "test") for c in "ab"}
    )
    with pytest.raises(
        DataError, match=r"not one data set: fer has the splits train, test .*Give the path of one.*/fer"
    ):
        read_split(str(root), "train")


def test_without_validation_a_tenth_of_training_is_held_out(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 20, "train/b": 11, "test/a": 1, "test/b": 1})
    train = read_split(str(root), "train", hold_out=True)
    val = read_split(str(root), "val", hold_out=True)
    assert (len(train.samples), len(val.samples)) == (27, 4)
    assert not {s.file for s in train.samples} & {s.file for s in val.samples}


def test_people_are_held_out_whole(faces: Path, tmp_path: Path) -> None:
    """The images of one person on both sides would make validation look better than it is."""
    root = tmp_path / "faces"
    shutil.copytree(faces, root, ignore=shutil.ignore_patterns("val"))
    train = read_split(str(root), "train", hold_out=True)
    val = read_split(str(root), "val", hold_out=True)
    assert val.samples
    assert not {s.group for s in train.samples} & {s.group for s in val.samples}
    assert len(train.samples) + len(val.samples) == len(read_split(str(root), "train").samples)


def test_a_class_that_few_people_show_is_held_out_too(tmp_path: Path) -> None:
    """Every 10th of 20 people is p00 or p10; the rare class is shown by others, of whom the first is held out."""
    shown = {"a": range(20), "b": range(20), "rare": (7, 13, 4)}
    root = make(tmp_path, {f"train/{c}": len(people) for c, people in shown.items()})
    rows = [f"train/{c}/{i:02d}.png,p{p:02d}" for c, people in shown.items() for i, p in enumerate(people)]
    (root / "labels.csv").write_text("file,subject\n" + "\n".join(rows) + "\n")
    val, train = (read_split(str(root), split, hold_out=True) for split in ("val", "train"))
    assert {sample.group for sample in val.samples} == {"p00", "p04", "p10"}
    assert {sample.group for sample in train.samples} == {f"p{i:02d}" for i in range(20)} - {"p00", "p04", "p10"}


def test_a_class_that_one_person_alone_shows_cannot_be_held_out(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 4, "train/b": 4})
    rows = [f"train/{c}/{i:02d}.png,train,{'ann' if c == 'a' else 'bob'},{c},{c}," for c in "ab" for i in range(4)]
    (root / "labels.csv").write_text("file,split,subject,label,true_label,votes\n" + "\n".join(rows))
    with pytest.raises(DataError, match="'a' has no images in the train part"):
        read_split(str(root), "train", hold_out=True)


def test_a_folder_without_splits_is_one_split(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": 10, "b": 10})
    assert len(read_split(str(root), "test").samples) == 20
    assert len(read_split(str(root), "train", hold_out=True).samples) == 18


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist.*arbex synth"):
        read_split(str(tmp_path / "nowhere"), "train")


def test_an_unknown_layout() -> None:
    with pytest.raises(UnsupportedError, match="The layout 'exotic' is not known. Allowed: folder, rafdb, "):
        read_split("exotic:/data", "train")


def test_an_unknown_split(faces: Path) -> None:
    with pytest.raises(UnsupportedError, match="The split 'tset' is not known. Allowed: train, val, test."):
        read_split(str(faces), "tset")


def test_an_empty_class(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 2, "train/b": 0})
    with pytest.raises(DataError, match="'b' has no images"):
        read_split(str(root), "train")


def test_a_single_class(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/joy": 2})
    with pytest.raises(DataError, match="holds one class only, 'joy'"):
        read_split(f"folder:{root}", "train")


def test_a_missing_split(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    with pytest.raises(DataError, match="no split 'test'"):
        read_split(str(root), "test")


def test_classes_of_another_model(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    with pytest.raises(DataError, match="trained on a, c"):
        read_split(str(root), "train", labels=("a", "c"))


def test_folders_are_matched_by_name_but_a_declared_order_must_be_the_models(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 2})
    assert [s.label for s in read_split(str(root), "train", labels=("b", "a")).samples] == [0, 0, 1]
    (root / "classes.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="declares the class order a, b"):
        read_split(str(root), "train", labels=("b", "a"))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_may_hold_people_or_votes_alone(mark: str, tmp_path: Path) -> None:
    """Spreadsheets begin a file with a byte order mark."""
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    (root / "labels.csv").write_text(f"{mark}file,subject\ntrain/a/00.png,anna\n")
    assert [(s.group, s.votes) for s in read_split(str(root), "train").samples] == [("anna", ()), ("", ())]
    (root / "labels.csv").write_text(f"{mark}file,votes\ntrain/a/00.png,3 1\n")
    assert [(s.group, s.votes) for s in read_split(str(root), "train").samples] == [("", (3, 1)), ("", ())]
    (root / "labels.csv").write_text(f"{mark}name,votes\ntrain/a/00.png,3 1\n")
    with pytest.raises(DataError, match="Line 2 .* cannot be read.*Allowed: the column file, and subject, votes"):
        read_split(str(root), "train")


@pytest.mark.parametrize("row", ["train\\a\\é.png", "./train/a/é.png", "train/a/e\u0301.png"])
def test_a_table_from_another_system_names_the_same_images(row: str, tmp_path: Path) -> None:
    """Windows has backslashes; macOS takes accents apart. Unmatched rows would put people into two splits."""
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    (root / "train/a/00.png").rename(root / "train/a/é.png")
    (root / "labels.csv").write_text(f"file,subject\n{row},anna\n", encoding="utf-8")
    train = read_split(str(root), "train")
    assert [s.group for s in train.samples] == ["anna", ""]
    assert "of 1 people, 1 of them of nobody who is named" in summary(train)


def test_a_table_about_other_images_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    (root / "labels.csv").write_text("file,subject\na/00.png,anna\n")
    with pytest.raises(DataError, match=r"names none of the images; its first row is about a/00.png.*relative to"):
        read_split(str(root), "train")


def test_votes_below_zero_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    (root / "labels.csv").write_text("file,votes\ntrain/a/00.png,-1 2\n")
    with pytest.raises(DataError, match="Line 2 of .* has the votes -1 2. Allowed: a number of 0 or more for each"):
        read_split(str(root), "train")


def test_a_class_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    (root / "classes.txt").write_text("\ufeffa\nb\n")
    assert read_split(str(root), "train").labels == ("a", "b")
    (root / "classes.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match="lists the class 'a' twice"):
        read_split(str(root), "train")


def test_a_damaged_table(tmp_path: Path) -> None:
    root = make(tmp_path, {"train/a": 1, "train/b": 1})
    (root / "labels.csv").write_text("file,split,subject,label,true_label,votes\ntrain/a/00.png,train,s1,a,a,x y\n")
    with pytest.raises(DataError, match="Line 2"):
        read_split(str(root), "train")


READ = """
from arbex.data.splits import read_split
from arbex.errors import DataError
try:
    print(len(read_split("data", "train").samples), "images")
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["", "train", "train/anger", "train/anger/person"])
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_cannot_be_read_is_not_left_out_in_silence(name: str, mode: int, tmp_path: Path) -> None:
    root = make(tmp_path / "data", {"train/anger": 2, "train/fear": 2, "train/anger/person": 2})
    assert len(read_split(str(root), "train").samples) == 6
    (root / name).chmod(mode)
    said = run_unprivileged(READ, tmp_path)
    (root / name).chmod(0o755)
    assert said.startswith(f"{Path('data', name)} cannot be read: Permission denied. ")
