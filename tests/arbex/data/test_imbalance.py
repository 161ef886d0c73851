"""Fewer images of some classes on purpose."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from arbex.data.imbalance import class_sizes, with_imbalance
from arbex.data.samples import FaceSet, Sample


def test_sizes_by_hand() -> None:
    # 100, 100 / 4^(1/2) = 50 and 100 / 4 = 25, in the order of the sizes
    assert class_sizes([90, 100, 80], 4) == [50, 100, 25]
    assert class_sizes([100, 30, 90], 4) == [100, 25, 50]
    assert class_sizes([100, 10, 90], 4) == [100, 10, 50]  # no class grows
    assert class_sizes([100, 100], 1000) == [100, 1]


@given(st.lists(st.integers(1, 500), min_size=2, max_size=8), st.floats(1, 1000))
def test_no_class_grows_and_none_is_lost(counts: list[int], factor: float) -> None:
    sizes = class_sizes(counts, factor)
    assert all(1 <= size <= count for size, count in zip(sizes, counts, strict=True))
    assert max(sizes) == max(counts)
    assert class_sizes(counts, 1) == counts


def test_images_are_chosen_by_the_seed() -> None:
    faces = FaceSet(
        Path("/data"), "train", ("a", "b", "c"), tuple(Sample(Path(f"/data/{i}"), i % 3) for i in range(300))
    )
    found = with_imbalance(faces, 4, 0)
    assert Counter(sample.label for sample in found.samples) == {0: 100, 1: 50, 2: 25}
    assert with_imbalance(faces, 4, 0) == found != with_imbalance(faces, 4, 1)
    assert set(found.samples) <= set(faces.samples)
