"""Public data sets, as miniature trees in their true formats with their real oddities."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arbex.data.layouts import LAYOUTS, parse_source
from arbex.data.loading import FaceDataset
from arbex.data.splits import read_split
from arbex.errors import DataError, UnsupportedError
from arbex.spec import EXPRESSIONS
from tests.arbex.data.trees import image, names
from tests.unprivileged import run_unprivileged

EIGHT = (*EXPRESSIONS, "contempt")


# RAF-DB: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral.
RAF_ORDER = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def make_rafdb(root: Path) -> Path:
    lines = []
    for split, each in (("train", 20), ("test", 2)):
        for i in range(7 * each):
            name = f"{split}_{i + 1:05d}" if split == "train" else f"{split}_{i + 1:04d}"  # as in the original
            lines.append(f"{name}.jpg {i % 7 + 1}")
            image(root / f"basic/Image/aligned/{name}_aligned.jpg", i)
            image(root / f"basic/Image/original/{name}.jpg", 255)
    (root / "basic/EmoLabel").mkdir(parents=True)
    (root / "basic/EmoLabel/list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("below", ["", "basic"])
def test_rafdb_takes_aligned_images_and_its_own_numbers(tmp_path: Path, below: str) -> None:
    root = make_rafdb(tmp_path / "RAF-DB") / below
    test = read_split(f"rafdb:{root}", "test")
    assert test.labels == EXPRESSIONS
    assert names(test) == [RAF_ORDER[i % 7] for i in range(14)]
    assert all(s.file.name.endswith("_aligned.jpg") and s.file.parent.name == "aligned" for s in test.samples)


def test_rafdb_has_no_validation_split_so_a_tenth_is_held_out(tmp_path: Path) -> None:
    root = make_rafdb(tmp_path)
    train, val = (read_split(f"rafdb:{root}", split, hold_out=True) for split in ("train", "val"))
    assert (len(train.samples), len(val.samples)) == (126, 14)
    assert not {s.file for s in train.samples} & {s.file for s in val.samples}


def test_rafdb_with_a_line_that_says_nothing(tmp_path: Path) -> None:
    root = make_rafdb(tmp_path)
    file = root / "basic/EmoLabel/list_patition_label.txt"
    file.write_text(file.read_text() + "train_99999.jpg 8\n")
    with pytest.raises(DataError, match=r"Line 155 of .*'train_99999.jpg 8'.*1 to 7"):
        read_split(f"rafdb:{root}", "train")


# FER+: ten votes a row, in this order.
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def votes(**given: int) -> list[int]:
    return [given.get(name, 0) for name in COLUMNS]


ODD_ROWS = [
    ("Training", "odd1.png", votes(neutral=4, happiness=5, anger=1)),  # one outlier
    ("Training", "odd2.png", votes(neutral=3, unknown=7)),  # most could not name it
    ("Training", "", votes(NF=10)),  # no face: it has no name
    ("Training", "odd4.png", votes(neutral=2, fear=3, surprise=5)),  # no more than half agree
    ("Training", "odd5.png", votes(contempt=8, neutral=2)),
    ("Training", "odd6.png", [1] * 10),  # nothing but outliers
]


def make_ferplus(root: Path, *, table: bool) -> Path:
    rows = list(ODD_ROWS)
    for usage in ("Training", "PublicTest", "PrivateTest"):
        rows += [(usage, f"{usage}{name}.png", votes(**{name: 9, "fear": 1})) for name in EIGHT if name != "fear"]
        rows.append((usage, f"{usage}fear.png", votes(fear=10)))
    root.mkdir(parents=True, exist_ok=True)
    with (root / "fer2013new.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Usage", "Image name", *COLUMNS])
        writer.writerows([usage, name, *counts] for usage, name, counts in rows)
    if table:
        with (root / "fer2013.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["emotion", "pixels", "Usage"])
            writer.writerows([0, " ".join([str(i)] * (48 * 48)), usage] for i, (usage, *_) in enumerate(rows))
    else:
        folders = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
        for i, (usage, name, _) in enumerate(rows):
            if name:
                image(root / folders[usage] / name, i, side=48)
    return root


FER_ORDER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FER_FOLDERS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def make_fer2013(root: Path, *, table: str = "") -> Path:
    """Writes two images of each class for each usage, as rows of a table with that header, or as files."""
    rows = [(usage, i % 7, i) for usage in ("Training", "PublicTest", "PrivateTest") for i in range(14)]
    root.mkdir(parents=True, exist_ok=True)
    if table:
        lines = [table, *(f'{code},{usage},"{" ".join([str(i)] * 48 * 48)}"' for usage, code, i in rows)]
        (root / ("icml_face_data.csv" if " " in table else "fer2013.csv")).write_text("\n".join(lines) + "\n")
        return root
    for usage, code, i in rows:
        folder = "train" if usage == "Training" else "test"  # one of its copies puts both tests into one folder
        image(root / folder / FER_FOLDERS[code] / f"{usage}_{1000 + i}.jpg", i, side=48)
    image(root / "train/angry/Training_1000_flipped.jpg", 255)  # somebody's augmentation
    return root


@pytest.mark.parametrize("table", ["", "emotion,Usage,pixels", "emotion, Usage, pixels"])
def test_fer2013_in_every_form_in_which_it_is_given_out(tmp_path: Path, table: str) -> None:
    root = make_fer2013(tmp_path, table=table)
    for split in ("train", "val", "test"):
        faces = read_split(f"fer2013:{root}", split, hold_out=True)
        assert faces.labels == EXPRESSIONS
        assert sorted(names(faces)) == sorted(2 * FER_ORDER)
        shades = {int(FaceDataset(faces, 48)[i][0][0, 0, 0]): name for i, name in enumerate(names(faces))}
        assert shades == {i: FER_ORDER[i % 7] for i in range(14)}


def test_fer2013_with_a_folder_or_a_row_that_is_none(tmp_path: Path) -> None:
    root = make_fer2013(tmp_path / "files")
    (root / "train/angry").rename(root / "train/furious")
    with pytest.raises(DataError, match=r"furious/Training_1000.jpg is in a folder .* Allowed: .*angry"):
        read_split(f"fer2013:{root}", "train")
    root = make_fer2013(tmp_path / "table", table="emotion,Usage,pixels")
    with (root / "fer2013.csv").open("a") as stream:
        stream.write("7,Training,1 2 3\n")
    with pytest.raises(DataError, match=r"fer2013.csv cannot be read .* Allowed: the columns emotion \(0 to 6\)"):
        read_split(f"fer2013:{root}", "train")
    root = make_fer2013(tmp_path / "minus", table="\ufeffemotion,Usage,pixels")
    assert len(read_split(f"fer2013:{root}", "train").samples) == 14
    with (root / "fer2013.csv").open("a") as stream:
        stream.write("-1,Training,1 2 3\n")
    with pytest.raises(DataError, match=r"Allowed: the columns emotion \(0 to 6\)"):
        read_split(f"fer2013:{root}", "train")
    with pytest.raises(DataError, match=r"not in the layout 'fer2013'"):
        read_split(f"fer2013:{make_rafdb(tmp_path / 'other')}", "train")


@pytest.mark.parametrize("table", [True, False])
def test_ferplus_reads_votes_with_pixels_from_a_table_or_a_folder(tmp_path: Path, table: bool) -> None:
    root = make_ferplus(tmp_path, table=table)
    train = read_split(f"ferplus:{root}", "train")
    assert train.labels == EIGHT
    assert names(train)[:3] == ["happiness", "surprise", "contempt"]  # odd1, odd4, odd5
    assert train.samples[0].votes == (4, 0, 0, 0, 5, 0, 0, 0)  # the single vote for anger is gone
    assert len(train.samples) == 3 + 8
    pixels, _, _ = FaceDataset(train, 48)[1]
    assert int(pixels[0, 0, 0]) == 3  # row 3 of the table, the odd4 of the folder: named ones keep their rows
    assert [len(read_split(f"ferplus:{root}", split).samples) for split in ("val", "test")] == [8, 8]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("unknown=keep", ["happiness", "neutral", "surprise", "contempt"]),
        ("majority=half", ["happiness", "contempt"]),
        ("outliers=keep", ["happiness", "surprise", "contempt"]),
        ("classes=7", ["happiness", "surprise"]),
        ("majority=half,outliers=keep", ["contempt"]),
    ],
)
def test_ferplus_excludes_what_its_options_say(tmp_path: Path, options: str, expected: list[str]) -> None:
    root = make_ferplus(tmp_path, table=False)
    train = read_split(f"ferplus,{options}:{root}", "train")
    odd = [name for s, name in zip(train.samples, names(train), strict=True) if s.file.name.startswith("odd")]
    assert odd == expected
    assert len(train.labels) == (7 if "classes=7" in options else 8)


@pytest.mark.parametrize("change", ["lacks a row", "has another order"])
def test_ferplus_pixels_belong_to_the_votes_by_their_order_alone(change: str, tmp_path: Path) -> None:
    """A cleaned copy of the pixels would give most images the votes for another one."""
    root = make_ferplus(tmp_path, table=True)
    header, *rows = (root / "fer2013.csv").read_text().splitlines()
    changed = rows[:3] + rows[4:] if change == "lacks a row" else rows[::-1]
    (root / "fer2013.csv").write_text("\n".join([header, *changed]))
    with pytest.raises(DataError, match=r"rows of .*fer2013.csv are not those of fer2013new.csv: line \d+"):
        read_split(f"ferplus:{root}", "train")


def test_ferplus_folders_of_tables_are_not_folders_of_images(tmp_path: Path) -> None:
    """The authors' repository has a folder for each split that holds a table alone."""
    root = make_ferplus(tmp_path, table=True)
    for folder in ("FER2013Train", "FER2013Valid", "FER2013Test"):
        (root / folder).mkdir()
        (root / folder / "label.csv").write_text("fer0000000.png\n")
    pixels, _, _ = FaceDataset(read_split(f"ferplus:{root}", "train"), 48)[1]
    assert int(pixels[0, 0, 0]) == 3


def test_ferplus_pixels_that_are_no_square_are_left_out_and_named(tmp_path: Path) -> None:
    root = make_ferplus(tmp_path, table=True)
    text = (root / "fer2013.csv").read_text().splitlines()
    text[2 + len(ODD_ROWS)] = '0,"1 2 3",Training'
    (root / "fer2013.csv").write_text("\n".join(text))
    with pytest.raises(DataError, match=r"1 of the 11 images.*cannot be read.*row 7 of .*fer2013.csv"):
        FaceDataset(read_split(f"ferplus:{root}", "train"), 48)


def test_a_table_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    root = make_ferplus(tmp_path, table=True)
    train = read_split(f"ferplus:{root}", "train")
    before, *_ = FaceDataset(train, 48)[0]
    table = (root / "fer2013.csv").read_text().splitlines()
    table[1] = '0,"' + " ".join(["200"] * 48 * 48) + '",Training'
    (root / "fer2013.csv").write_text("\n".join(table))
    after, *_ = FaceDataset(train, 48)[0]
    assert (int(before[0, 0, 0]), int(after[0, 0, 0])) == (0, 200)


# AffectNet: 0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt, 8 none, …
AFFECT_ORDER = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")


def make_affectnet_arrays(root: Path) -> Path:
    for folder in ("train_set", "val_set"):
        (root / folder / "annotations").mkdir(parents=True)
        for i in range(20):
            image(root / folder / f"images/{i}.jpg", i)
            # The published files hold text; exports of them hold numbers.
            code = np.array(str(i % 10)) if i % 2 else np.array(i % 10)
            np.save(root / folder / f"annotations/{i}_exp.npy", code)
            np.save(root / folder / f"annotations/{i}_aro.npy", np.array("0.1"))
    return root


def make_affectnet_tables(root: Path) -> Path:
    for file in ("training.csv", "validation.csv"):
        with (root / file).open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(
                ["subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"]
                + ["expression", "valence", "arousal"]
            )
            for i in range(22):
                name = f"{i % 3}/{file[0]}{i:040x}.jpg"
                image(root / "Manually_Annotated_Images" / name, i)
                writer.writerow([name, 1, 2, 3, 4, "1;2", i % 11, -2, -2])
    return root


def make_affectnet_archives(root: Path) -> Path:
    """Writes the older form as its archives unpack, with a second table that has no header."""
    make_affectnet_tables(root)
    (root / "Manually_Annotated").mkdir()
    (root / "Manually_Annotated_Images").rename(root / "Manually_Annotated" / "Manually_Annotated_Images")
    (root / "Manually_Annotated_file_lists").mkdir()
    for name in ("training.csv", "validation.csv"):
        (root / name).rename(root / "Manually_Annotated_file_lists" / name)
    table = root / "Manually_Annotated_file_lists" / "validation.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[1:]))
    return root


@pytest.mark.parametrize("make", [make_affectnet_arrays, make_affectnet_tables, make_affectnet_archives])
@pytest.mark.parametrize("classes", [7, 8])
def test_affectnet_in_all_of_its_forms(tmp_path: Path, make: Callable[[Path], Path], classes: int) -> None:
    root = make(tmp_path)
    test = read_split(f"affectnet,classes={classes}:{root}", "test")
    assert test.labels == EIGHT[:classes]
    assert names(test) == [name for _ in range(2) for name in AFFECT_ORDER[:classes]]  # 8 to 10 are left out
    train = read_split(f"affectnet,classes={classes}:{root}", "train", hold_out=True)
    val = read_split(f"affectnet,classes={classes}:{root}", "val", hold_out=True)
    assert (len(train.samples), len(val.samples)) == (classes, classes)


def test_affectnet_reads_annotations_without_running_code(tmp_path: Path) -> None:
    root = make_affectnet_arrays(tmp_path)
    np.save(root / "train_set/annotations/3_exp.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="3_exp.npy cannot be read.*0 to 10"):
        read_split(f"affectnet:{root}", "train")


def test_affectnet_with_an_empty_annotation(tmp_path: Path) -> None:
    root = make_affectnet_arrays(tmp_path)
    (root / "train_set/annotations/3_exp.npy").write_bytes(b"")
    with pytest.raises(DataError, match="3_exp.npy cannot be read"):
        read_split(f"affectnet:{root}", "train")


def test_an_image_of_a_table_that_is_missing_is_named_however_large_the_set_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBEX_CACHE", str(tmp_path / "cache"))
    root = make_affectnet_tables(tmp_path)
    test = read_split(f"affectnet:{root}", "test")
    test.samples[3].file.unlink()
    for limit in (0, 1 << 30):
        images = FaceDataset(test, 16, most_unreadable=0.1, memory_limit=limit)
        assert [sample for sample, _ in images.unreadable] == [test.samples[3]]


def make_affwild2(root: Path, base: str = "annotations/EXPR_Set") -> Path:
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
    for folder, videos in (("Train_Set", ["1-30-1280x720", "2_left", "2_right"]), ("Validation_Set", ["7"])):
        (root / base / folder).mkdir(parents=True)
        for video in videos:
            codes = [-1, *range(8), *range(8), -1]
            (root / base / folder / f"{video}.txt").write_text("\n".join([header, *map(str, codes)]) + "\n")
            for frame in range(1, len(codes) + 3):  # more frames than labels happens
                if frame != 3:  # no face was found
                    image(root / f"cropped_aligned/{video}/{frame:05d}.jpg", frame)
        # The valence-arousal track has folders of the same name.
        other = root / "annotations/VA_Set" / folder
        other.mkdir(parents=True, exist_ok=True)
        (other / "1-30-1280x720.txt").write_text("valence,arousal\n0.1,0.2\n")
    (root / base / "Train_Set/._7.txt").write_bytes(b"\x00\xb0")  # macOS
    (root / base / "Train_Set/9.txt").write_text(f"{header}\n0\n")  # a video whose frames are not here
    return root


@pytest.mark.parametrize("base", ["annotations/EXPR_Set", "EXPR_Classification_Challenge", "."])
def test_affwild2_reads_labeled_frames_by_video(tmp_path: Path, base: str) -> None:
    root = make_affwild2(tmp_path, base)
    test = read_split(f"affwild2:{root}", "test")
    assert test.labels == (*EXPRESSIONS, "other")
    order = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
    # Frame 1 has no label, frame 3 (anger) no image, frames 18 to 20 no label.
    assert names(test) == [name for i, name in enumerate((*order, *order)) if i != 1]
    assert test.samples[0].file.name == "00002.jpg"
    train = read_split(f"affwild2:{root}", "train")
    assert Counter(s.group for s in train.samples) == {"1-30-1280x720": 15, "2_left": 15, "2_right": 15}


def test_affwild2_holds_out_whole_videos(tmp_path: Path) -> None:
    root = make_affwild2(tmp_path)
    train = read_split(f"affwild2:{root}", "train", hold_out=True)
    val = read_split(f"affwild2:{root}", "val", hold_out=True)
    assert {s.group for s in val.samples} == {"1-30-1280x720"}
    assert {s.group for s in train.samples} == {"2_left", "2_right"}


def test_affwild2_with_a_label_that_is_none(tmp_path: Path) -> None:
    root = make_affwild2(tmp_path)
    (root / "annotations/EXPR_Set/Train_Set/2_left.txt").write_text("header\n0\n9\n")
    with pytest.raises(DataError, match=r"Line 3 of .*2_left.txt.*'9'.*-1 to 7"):
        read_split(f"affwild2:{root}", "train")


JAFFE_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")


READ = """
import sys
from arbex.data.splits import read_split
from arbex.errors import DataError
try:
    print(len(read_split("%s:data", "train").samples), "images")
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (make_affwild2, "cropped_aligned"),
        (make_affwild2, "cropped_aligned/2_left"),
        (make_affwild2, "annotations/EXPR_Set/Train_Set"),
        (make_affectnet_arrays, "train_set/images"),
        (make_rafdb, ""),
    ],
)
@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_cannot_be_read_is_not_left_out_in_silence(
    make: Callable[[Path], Path], name: str, mode: int, tmp_path: Path
) -> None:
    root = make(tmp_path / "data")
    (root / name).chmod(mode)
    said = run_unprivileged(READ % make.__name__.split("_")[1], tmp_path)
    (root / name).chmod(0o755)
    assert said.startswith(f"{Path('data', name)} cannot be read: Permission denied. ")


def make_jaffe(root: Path) -> Path:
    number = 1
    for person in JAFFE_PEOPLE:
        for code in ("AN", "DI", "FE", "HA", "NE", "SA", "SU"):
            for take in (1, 2):
                space = " " if number == 5 else ""  # one of the originals has a blank before its suffix
                image(root / f"{person}.{code}{take}.{number}{space}.tiff", number)
                number += 1
    (root / "README_FIRST.txt").write_text("no image")
    image(root / "sheet.png")  # somebody's overview
    return root


def test_jaffe_has_its_labels_in_file_names_and_splits_people(tmp_path: Path) -> None:
    root = make_jaffe(tmp_path)
    sets = {split: read_split(f"jaffe:{root}", split, hold_out=True) for split in ("train", "val", "test")}
    people = {split: {s.group for s in faces.samples} for split, faces in sets.items()}
    assert people["test"] == {"KA", "NA"}
    assert people["val"] == {"KL"}
    assert people["train"] == set(JAFFE_PEOPLE) - {"KA", "NA", "KL"}
    assert sum(len(faces.samples) for faces in sets.values()) == 140
    wrong = [s for s, name in zip(sets["test"].samples, names(sets["test"]), strict=True) if ".AN" in s.file.name]
    assert {sets["test"].labels[s.label] for s in wrong} == {"anger"}


def make_ferg(root: Path) -> Path:
    for character in ("aia", "bonnie", "jules", "malcolm", "mery", "ray"):
        for code in ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"):
            image(root / f"FERG_DB_256/{character}/{character}_{code}/{character}_{code}_1.png")
    return root


def test_ferg_groups_characters_and_calls_joy_happiness(tmp_path: Path) -> None:
    root = make_ferg(tmp_path)
    test, train = (read_split(f"ferg:{root}", split) for split in ("test", "train"))
    assert {s.group for s in test.samples} == {"aia", "ray"}
    assert {s.group for s in train.samples} == {"bonnie", "jules", "malcolm", "mery"}
    joy = [s for s in train.samples if "joy" in s.file.name]
    assert {train.labels[s.label] for s in joy} == {"happiness"}


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "folder"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, name: str) -> None:
    image(tmp_path / "holiday.jpg")
    with pytest.raises(DataError, match=rf"is not in the layout '{name}': .* is missing. Allowed: .*docs/data.md"):
        read_split(f"{name}:{tmp_path}", "train")


def test_a_models_order_of_classes_is_kept(tmp_path: Path) -> None:
    root = make_ferplus(tmp_path, table=False)
    wanted = tuple(reversed(EIGHT))
    train = read_split(f"ferplus:{root}", "train", labels=wanted)
    assert train.labels == wanted
    assert names(train)[0] == "happiness"
    assert train.samples[0].votes[wanted.index("happiness")] == 5
    with pytest.raises(DataError, match="trained on neutral"):
        read_split(f"ferplus:{root}", "train", labels=EXPRESSIONS)


def test_options_are_read_and_checked(tmp_path: Path) -> None:
    assert parse_source("affectnet,classes=7:/data/x") == ("affectnet", {"classes": "7"}, Path("/data/x"))
    (tmp_path / "odd:name").mkdir()
    assert parse_source(str(tmp_path / "odd:name"))[0] == "folder"
    with pytest.raises(UnsupportedError, match="classes is '9'. Allowed: 8, 7."):
        read_split(f"affectnet,classes=9:{tmp_path}", "train")
    with pytest.raises(UnsupportedError, match="option 'classes' of the layout 'rafdb' is not known. Allowed: none."):
        read_split(f"rafdb,classes=7:{tmp_path}", "train")
    with pytest.raises(DataError, match="'classes' of .* has no value"):
        read_split(f"affectnet,classes:{tmp_path}", "train")
