"""CK+ in both of its forms, as miniature trees in their true formats."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arbex.data.loading import FaceDataset
from arbex.data.splits import read_split
from arbex.errors import DataError
from tests.arbex.data.trees import image, names


def make_ckplus(root: Path) -> Path:
    """The original folders: a person without labels, a sequence without one, and faces low on the right."""
    for person, sequence, code in (("S005", "001", 3), ("S010", "002", 7), ("S010", "004", 2), ("S011", "001", None)):
        for frame in range(1, 7):
            stem = f"{person}_{sequence}_{frame:08d}"
            pixels = np.zeros((49, 64), np.uint8)
            pixels[20:40, 40:60] = 10 * frame
            file = root / f"cohn-kanade-images/{person}/{sequence}/{stem}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
            points = root / f"Landmarks/{person}/{sequence}/{stem}_landmarks.txt"
            points.parent.mkdir(parents=True, exist_ok=True)
            places = [(42, 28), (58, 28), (50, 30), (50, 38)]
            points.write_text("".join(f"   {x:.7e}   {y:.7e}\n" for x, y in places))
        (root / f"cohn-kanade-images/{person}/.DS_Store").write_bytes(b"left by a Mac")
        emotions = root / f"Emotion/{person}/{sequence}"
        emotions.mkdir(parents=True)
        if code is not None:
            (emotions / f"{person}_{sequence}_00000006_emotion.txt").write_text(f"   {code:.7e}\n")
    return root


def test_ckplus_takes_the_neutral_frame_and_the_last_three_of_labeled_sequences(tmp_path: Path) -> None:
    root = make_ckplus(tmp_path)
    faces = read_split(f"ckplus:{root}", "all")
    assert faces.labels == ("neutral", "disgust", "surprise", "contempt")
    assert Counter(names(faces)) == {"neutral": 3, "disgust": 3, "surprise": 3, "contempt": 3}
    assert [s.file.stem[-1] for s in faces.samples if s.group == "S005"] == ["1", "4", "5", "6"]
    assert {s.group for s in faces.samples} == {"S005", "S010"}
    assert "contempt" not in read_split(f"ckplus,contempt=drop:{root}", "all").labels


def test_ckplus_cuts_the_face_out_of_its_frame(tmp_path: Path) -> None:
    faces = read_split(f"ckplus:{make_ckplus(tmp_path)}", "all")
    (sample,) = (s for s in faces.samples if s.file.stem == "S005_001_00000006")
    # From 42 to 58, and from 28 to 38 with a quarter of that for the forehead.
    assert sample.box == (42, 26, 16, 12)  # rounded from 25.5 and 12.5
    pixels = FaceDataset(faces, 20).pixels[faces.samples.index(sample)]
    assert pixels[:, 5:15, 3:17].min() == 60  # the face fills what is cut out


def test_ckplus_also_takes_faces_that_were_cut_out(tmp_path: Path) -> None:
    for folder in ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"):
        for person in range(10, 16):
            image(tmp_path / f"CK+48/{folder}/S{person:03d}_004_00000017.png", side=48)
    image(tmp_path / "CK+48/overview.png")
    faces = read_split(f"ckplus:{tmp_path}", "all")
    assert faces.labels == ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt")
    assert len(faces.samples) == 42
    test, train = (read_split(f"ckplus:{tmp_path}", split) for split in ("test", "train"))
    assert {s.group for s in test.samples} == {"S010", "S015"}
    assert {s.group for s in train.samples} == {"S011", "S012", "S013", "S014"}
    image(tmp_path / "CK+48/pain/S010_004_00000017.png")
    with pytest.raises(DataError, match=r"'?S010.*not named after a class of CK\+. Allowed: neutral, anger"):
        read_split(f"ckplus:{tmp_path}", "all")


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("Emotion/S005/001/S005_001_00000006_emotion.txt", "8.0\n", r"'8.0'. Allowed: a number from 1 to 7"),
        ("Emotion/S005/001/S005_001_00000006_emotion.txt", "disgust", r"'disgust'. Allowed: a number from 1 to 7"),
        ("Landmarks/S005/001/S005_001_00000006_landmarks.txt", "1.0 2.0 3.0\n", r"The landmarks .* cannot be read"),
        ("Landmarks/S005/001/S005_001_00000006_landmarks.txt", None, r"No such file.*Unpack Landmarks.zip"),
    ],
)
def test_ckplus_names_the_file_that_it_cannot_read(tmp_path: Path, file: str, text: str | None, problem: str) -> None:
    root = make_ckplus(tmp_path)
    if text is None:
        (root / file).unlink()
    else:
        (root / file).write_text(text)
    with pytest.raises(DataError, match=problem):
        read_split(f"ckplus:{root}", "all")


def test_ckplus_with_a_short_sequence(tmp_path: Path) -> None:
    root = make_ckplus(tmp_path)
    for frame in (root / "cohn-kanade-images/S005/001").glob("*[1-4].png"):
        frame.unlink()
    with pytest.raises(DataError, match="S005/001 has 2 frames. Allowed: 4 or more"):
        read_split(f"ckplus:{root}", "all")


def test_ckplus_without_landmarks(tmp_path: Path) -> None:
    root = make_ckplus(tmp_path)
    (root / "Landmarks").rename(root / "points")
    with pytest.raises(DataError, match="Landmarks is missing"):
        read_split(f"ckplus:{root}", "all")


# Without contempt, the neutral frame of its sequence stays.
@pytest.mark.parametrize(
    ("options", "person", "count"),
    [("fold=1/2", "S005", 4), ("fold=2/2", "S010", 8), ("contempt=drop,fold=2/2", "S010", 5)],
)
def test_the_people_of_ckplus_can_be_dealt_out(tmp_path: Path, options: str, person: str, count: int) -> None:
    found = read_split(f"ckplus,{options}:{make_ckplus(tmp_path)}", "test", mapping={})
    assert [sample.group for sample in found.samples] == [person] * count
