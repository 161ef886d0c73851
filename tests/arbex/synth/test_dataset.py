"""Procedural faces: the layout, the knobs, the determinism."""

from __future__ import annotations

import csv
import hashlib
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arbex.errors import DataError, InputError
from arbex.spec import EXPRESSIONS
from arbex.synth import SynthConfig, draw_face, write_dataset
from arbex.synth.action_units import NAMES, PROTOTYPES, blend
from arbex.synth.annotators import majority, mislabel, perceived, vote
from arbex.synth.dataset import plan, write_face
from arbex.synth.identity import sample_identity


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "labels.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_layout_and_table_agree(faces: Path) -> None:
    table = rows(faces)
    assert len(table) == 210
    for row in table:
        split, label, _ = row["file"].split("/")
        assert (split, label) == (row["split"], row["label"])
        assert sum(int(v) for v in row["votes"].split()) == 10
        assert row["true_label"] in EXPRESSIONS
    with Image.open(faces / table[0]["file"]) as image:
        assert (image.mode, image.size) == ("RGB", (64, 64))
    assert (faces / "classes.txt").read_text().split() == list(EXPRESSIONS)


def test_traits_in_words_belong_to_people_or_to_images(faces: Path) -> None:
    allowed = {
        "skin": {"light", "medium", "dark"},
        "hair": {"black", "dark brown", "brown", "dark blond", "blond", "red", "gray"},
        "glasses": {"yes", "no"},
        "yaw": {"left", "front", "right"},
        "light": {"left", "front", "right"},
    }
    table = rows(faces)
    for column, values in allowed.items():
        assert {row[column] for row in table} <= values
    for column in ("skin", "hair", "glasses"):
        assert len({(row["subject"], row[column]) for row in table}) == 10  # one value per person
    assert {row["light"] for row in table} == {row["yaw"] for row in table} == allowed["yaw"]


def test_skin_and_hair_are_named_as_they_look() -> None:
    person = sample_identity(np.random.default_rng(0))
    assert replace(person, skin=(246, 214, 190), hair=(30, 24, 20)).skin_tone == "light"
    assert replace(person, skin=(224, 172, 132)).skin_tone == "light"
    assert replace(person, skin=(190, 130, 95)).skin_tone == "medium"
    assert replace(person, skin=(82, 54, 40)).skin_tone == "dark"
    assert replace(person, hair=(30, 24, 20)).hair_color == "black"
    assert replace(person, hair=(210, 180, 130)).hair_color == "blond"


def test_subjects_are_in_one_split_only(faces: Path) -> None:
    splits: dict[str, set[str]] = {}
    for row in rows(faces):
        splits.setdefault(row["subject"], set()).add(row["split"])
    assert len(splits) == 10
    assert all(len(s) == 1 for s in splits.values())
    assert {next(iter(s)) for s in splits.values()} == {"train", "val", "test"}


def test_the_majority_of_votes_is_the_label(faces: Path) -> None:
    for row in rows(faces):
        votes = [int(v) for v in row["votes"].split()]
        assert votes[EXPRESSIONS.index(row["label"])] == max(votes)


def test_pixels_depend_on_the_seed_alone() -> None:
    config = SynthConfig(images=70, subjects=5, seed=11, image_size=48)
    digest = hashlib.sha256()
    for face in plan(config)[:6]:
        digest.update(draw_face(config, face).image.tobytes())
    # The same on every machine; a change of the drawing changes it on purpose.
    assert digest.hexdigest()[:16] == DIGEST
    other = SynthConfig(images=70, subjects=5, seed=12, image_size=48)
    assert not np.array_equal(draw_face(config, plan(config)[0]).image, draw_face(other, plan(other)[0]).image)


DIGEST = "384b4c61e58a9e17"


def test_workers_do_not_change_the_bytes(tmp_path: Path) -> None:
    config = SynthConfig(images=63, subjects=3, seed=5, image_size=32)
    write_dataset(config, tmp_path / "one", workers=1)
    write_dataset(config, tmp_path / "two", workers=2)
    assert len(rows(tmp_path / "one")) == 63
    for row in rows(tmp_path / "one"):
        assert (tmp_path / "one" / row["file"]).read_bytes() == (tmp_path / "two" / row["file"]).read_bytes()
    assert (tmp_path / "one/labels.csv").read_text() == (tmp_path / "two/labels.csv").read_text()


def test_imbalance_is_the_ratio_of_classes() -> None:
    faces = plan(SynthConfig(images=7000, subjects=10, imbalance=20.0))
    counts = Counter(EXPRESSIONS[f.truth] for f in faces)
    assert counts["happiness"] / counts["fear"] == pytest.approx(20, rel=0.15)


def test_label_noise_is_the_share_of_wrong_labels() -> None:
    clean = SynthConfig(images=700, subjects=10, image_size=32, ambiguity=0.0, label_noise=0.0)
    noisy = SynthConfig(images=700, subjects=10, image_size=32, ambiguity=0.0, label_noise=0.4)
    training = [face for face in plan(clean) if face.split == "train"]
    changed = [draw_face(clean, face).label != draw_face(noisy, face).label for face in training[:200]]
    assert np.mean(changed) == pytest.approx(0.4, abs=0.1)


def test_label_noise_spares_the_pixels_and_the_splits_that_measure() -> None:
    clean = SynthConfig(images=70, subjects=5, image_size=32, label_noise=0.0)
    noisy = SynthConfig(images=70, subjects=5, image_size=32, label_noise=1.0)
    for face in plan(clean):
        right, wrong = draw_face(clean, face), draw_face(noisy, face)
        assert np.array_equal(right.image, wrong.image)
        assert (right.label != wrong.label) == (face.split == "train")


def test_ambiguous_faces_divide_the_annotators() -> None:
    p = perceived({"anger": 0.52, "disgust": 0.48}, 0.9, EXPRESSIONS)
    assert 0.3 < p[EXPRESSIONS.index("disgust")] < p[EXPRESSIONS.index("anger")] < 0.6
    clear = perceived({"anger": 1.0}, 1.0, EXPRESSIONS)
    assert clear.argmax() == EXPRESSIONS.index("anger")
    assert clear.max() >= 0.85


def test_a_weak_expression_looks_neutral() -> None:
    p = perceived({"sadness": 1.0}, 0.05, EXPRESSIONS)
    assert p.argmax() == EXPRESSIONS.index("neutral")


def test_votes_majority_and_mislabeling() -> None:
    rng = np.random.default_rng(0)
    assert vote(perceived({"fear": 1.0}, 1.0, EXPRESSIONS), rng).sum() == 10
    assert majority(np.array([4, 4, 2]), truth=1) == 1
    assert majority(np.array([5, 3, 2]), truth=1) == 0
    for _ in range(20):
        wrong = mislabel(np.array([6, 3, 1]), rng)
        assert wrong.argmax() != 0
        assert sorted(wrong) == [1, 3, 6]


def test_prototypes_use_known_action_units() -> None:
    assert set(PROTOTYPES) >= {*EXPRESSIONS, "contempt"} - {"neutral"}
    for units in PROTOTYPES.values():
        assert set(units) <= set(NAMES)
    half = blend({"happiness": 0.5, "anger": 0.5}, 1.0)
    assert half["lip_corner_puller"] == 0.5
    assert half["brow_lowerer"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": 2}, "subjects is 2. Allowed: 3 or more."),
        ({"images": 5}, "images is 5. Allowed: 70 or more."),
        ({"image_size": 4}, "image_size is 4. Allowed: 32 to 1024."),
        ({"imbalance": 0.5}, "imbalance is 0.5. Allowed: 1 or more."),
        ({"label_noise": 1.5}, "label_noise is 1.5. Allowed: 0 to 1."),
        ({"ambiguity": -1}, "ambiguity is -1. Allowed: 0 to 1."),
        ({"seed": -1}, "seed is -1. Allowed: 0 or more."),
        ({"classes": ("neutral", "boredom")}, "The class 'boredom' is not known. Allowed: neutral, anger, "),
    ],
)
def test_values_that_cannot_be_drawn_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SynthConfig(**{"images": 700, "subjects": 10, **change})  # type: ignore[arg-type]


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not empty"):
        write_dataset(SynthConfig(images=63, subjects=3, image_size=32), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("arbex.synth.dataset.write_face", fail)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(SynthConfig(images=63, subjects=3, image_size=32), tmp_path / "out", workers=1)
    assert list(tmp_path.iterdir()) == []


def test_an_eighth_class_can_be_drawn() -> None:
    config = SynthConfig(images=80, subjects=5, image_size=32, ambiguity=0.0, classes=(*EXPRESSIONS, "contempt"))
    assert {f.truth for f in plan(config)} == set(range(8))
    drawn = [draw_face(config, face) for face in plan(config) if face.truth == 7]
    assert np.mean([one.label == 7 for one in drawn]) > 0.8  # the annotators see it


def test_a_split_without_a_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The class 'fear' has none of the 140 images"):
        write_dataset(SynthConfig(images=140, subjects=4, image_size=32, imbalance=50.0), tmp_path / "out", workers=1)
    assert list(tmp_path.iterdir()) == []


def test_drawing_and_writing_did_not_become_much_slower(tmp_path: Path) -> None:
    config = SynthConfig(images=700, subjects=10, image_size=128)
    faces = plan(config)[:120]
    for split in ("train", "val", "test"):
        for name in config.classes:
            (tmp_path / split / name).mkdir(parents=True)
    times = []
    for face in faces:
        started = time.process_time()
        write_face(config, tmp_path, face)
        times.append(time.process_time() - started)
    # A guard at half the wanted 150 images a second, since a busy machine can be that much slower; make bench measures.
    assert 1 / np.median(times) >= 75
