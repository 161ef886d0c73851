"""Calibration images are balanced and identified by a digest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arbex.data.samples import FaceSet, Sample
from arbex.data.splits import read_split
from arbex.errors import DataError
from arbex.spec import EXPRESSIONS
from calibration.samples import choose, load_samples
from tests.reporters import Lines


def test_choice_is_balanced_over_classes_and_people(faces: Path) -> None:
    chosen = choose(read_split(str(faces), "train"), 42)
    by_class = Counter(s.label for s in chosen)
    assert set(by_class.values()) == {6}
    for label in by_class:
        assert len({s.group for s in chosen if s.label == label}) == 6  # one of each of the six people


def test_choice_takes_all_where_there_are_fewer() -> None:
    samples = tuple(Sample(Path(str(i)), i % 2) for i in range(5))
    chosen = choose(FaceSet(Path(), "val", ("a", "b"), samples), 100)
    assert sorted(str(s.file) for s in chosen) == [str(i) for i in range(5)]


def test_choice_is_the_same_every_time(faces: Path) -> None:
    chosen = choose(read_split(str(faces), "train"), 10)
    names = ["s0000_000004", "s0000_000010", "s0000_000011", "s0000_000002", "s0000_000006"]
    names += ["s0000_000007", "s0000_000016", "s0003_000065", "s0003_000064", "s0003_000082"]
    assert [s.file.stem for s in chosen] == names  # tables that were shared name these


def test_images_come_from_validation_and_carry_a_digest(faces: Path) -> None:
    first = load_samples(str(faces), EXPRESSIONS, 64, count=14)
    second = load_samples(str(faces), EXPRESSIONS, 64, count=14)
    assert first.source.endswith("/val")
    assert first == second
    assert [len(batch) for batch in first.batches(8)] == [8, 6]
    assert np.concatenate(list(first.batches(8))).shape == (14, 64, 64, 3)
    assert np.array_equal(first.first(3), next(iter(first.batches(8)))[:3])
    assert load_samples(str(faces), EXPRESSIONS, 32, count=14).digest != first.digest
    assert load_samples(str(faces), EXPRESSIONS, 64, count=7).digest != first.digest


def test_shards_are_disjoint_cover_all_and_are_balanced_themselves(faces: Path) -> None:
    whole = load_samples(str(faces), EXPRESSIONS, 64, count=28)
    shards = [load_samples(str(faces), EXPRESSIONS, 64, count=28, shard=(i, 2)) for i in (1, 2)]
    assert shards[0].samples + shards[1].samples == whole.samples
    for shard in shards:
        assert len({sample.file.parent.name for sample in shard.samples}) == 7


def test_shards_without_room_for_every_class_are_refused(faces: Path) -> None:
    with pytest.raises(DataError, match="20 calibration images cannot cover 7 classes in 3 shards"):
        load_samples(str(faces), EXPRESSIONS, 64, count=20, shard=(1, 3))


def write_faces(root: Path, counts: dict[str, int]) -> Path:
    """Writes noise as validation images, the given number per class."""
    rng = np.random.default_rng(0)
    for name in EXPRESSIONS:
        (root / "val" / name).mkdir(parents=True)
        for i in range(counts.get(name, 0)):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / "val" / name / f"{i}.png")
    return root


def test_images_of_one_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The class 'neutral' has no images"):
        load_samples(str(write_faces(tmp_path, {"fear": 9})), EXPRESSIONS, 32)


def test_a_folder_of_images_without_classes_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "face.png")
    with pytest.raises(DataError, match="holds no class folders. Allowed: <split>/<class>/<image>"):
        load_samples(str(tmp_path), EXPRESSIONS, 32)


def test_a_class_in_one_color_is_refused(tmp_path: Path) -> None:
    data = write_faces(tmp_path, dict.fromkeys(EXPRESSIONS, 1))
    Image.new("RGB", (32, 32), "gray").save(data / "val" / "fear" / "0.png")
    with pytest.raises(DataError, match="All calibration images of fear are of one color"):
        load_samples(str(data), EXPRESSIONS, 32)


def test_an_image_of_one_color_is_named_and_left_out(tmp_path: Path) -> None:
    data = write_faces(tmp_path, dict.fromkeys(EXPRESSIONS, 2))
    black = data / "val" / "fear" / "0.png"
    Image.new("RGB", (32, 32)).save(black)
    said = Lines()
    chosen = load_samples(str(data), EXPRESSIONS, 32, report=said)
    assert len(chosen.samples) == 13
    assert said.lines == [f"warning: {black} is of one color throughout and is left out"]


def test_fewer_images_than_classes_are_refused(faces: Path) -> None:
    with pytest.raises(DataError, match="6 calibration images cannot cover 7 classes"):
        load_samples(str(faces), EXPRESSIONS, 64, count=6)
