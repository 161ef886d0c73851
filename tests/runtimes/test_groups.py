"""Groups of images by a column of labels.csv."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbex.data.groups import read_groups
from arbex.errors import DataError
from runtimes.comparison_images import list_images
from tests.arbex.data.trees import image

FILES = ("test/anger/a.png", "test/fear/b.png")


def write(root: Path, text: str) -> list[Path]:
    (root / "labels.csv").write_text(text)
    return [root / name for name in FILES]


def test_groups_are_named_after_column_and_value(tmp_path: Path) -> None:
    files = write(tmp_path, "file,glasses\ntest/fear/b.png,no\ntest/anger/a.png,yes\ntrain/c.png,no\n")
    assert read_groups(tmp_path, "glasses", files).tolist() == ["glasses=yes", "glasses=no"]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        (
            "file,glasses\n",
            "skin",
            "cannot group images by 'skin'. Allowed: a column 'file' with the paths of the images",
        ),
        ("file,skin,hair\n", "glasses", "and one of: skin, hair."),
        ("name,glasses\n", "glasses", "cannot group images by 'glasses'. Allowed: a column 'file'"),
        ("file,glasses\ntest/fear/b.png,no\n", "glasses", "lacks 1 of 2 images; the first: test/anger/a.png"),
        ("", "glasses", "and one of: none."),
    ],
)
def test_a_table_that_does_not_fit_is_refused(text: str, column: str, words: str, tmp_path: Path) -> None:
    files = write(tmp_path, text)
    with pytest.raises(DataError, match=words.replace(".", r"\.")):
        read_groups(tmp_path, column, files)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The groups cannot be read .*labels\.csv"):
        read_groups(tmp_path, "skin", [])


def test_a_table_from_a_spreadsheet_on_windows_is_read(tmp_path: Path) -> None:
    files = write(tmp_path, "\ufefffile,glasses\ntest\\fear\\b.png,no\n.\\test\\anger\\a.png,yes\n")
    assert read_groups(tmp_path, "glasses", files).tolist() == ["glasses=yes", "glasses=no"]


def test_images_have_the_class_of_the_first_folder_as_in_training(tmp_path: Path) -> None:
    """They may lie deeper, sorted by person."""
    image(tmp_path / "Test" / "fear" / "anna" / "0.png")
    image(tmp_path / "Test" / "anger" / "0.png")
    files, classes = list_images(str(tmp_path), "test", ("anger", "fear"), None)
    assert [file.parent.name for file in files] == ["anger", "anna"]
    assert classes is not None
    assert classes.tolist() == [0, 1]
    assert list_images(str(tmp_path / "Test" / "fear"), "test", ("anger", "fear"), None)[1] is None
