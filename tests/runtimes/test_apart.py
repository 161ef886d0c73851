"""A runtime in a process of its own answers like any other, and cannot take this process along."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from arbex.errors import BackendError
from runtimes.apart import ChildError, RuntimeApart
from runtimes.base import Prediction, Runtime

SIDE = 8
IMAGES = np.arange(2 * SIDE * SIDE * 3, dtype=np.uint8).reshape(2, SIDE, SIDE, 3)


class Brightness(Runtime):
    """Answers how bright an image is; the content of its file decides what goes wrong."""

    name = "brightness"

    def load(self) -> None:
        self.text = self.path.read_text()
        print("a banner of the vendor")
        if self.text == "refused":
            raise ValueError("no such model")
        if self.text == "ends at once":
            os.abort()

    @property
    def labels(self) -> tuple[str, ...]:
        return ("dark", "bright")

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        if self.text == "ends":
            print("Fatal: it cannot go on.")
            os._exit(5)
        if self.text == "fails":
            raise ValueError("not this image")
        bright = (images.mean((1, 2, 3)) / 255).astype(np.float32)
        both = np.stack([1 - bright, bright], -1)
        return Prediction(both, both, bright)

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        return (ValueError,)

    def close(self) -> None:
        Path(f"{self.path}.closed").touch()


class BrightnessApart(RuntimeApart):
    """The same in a child."""

    name, inside = "brightness", Brightness

    def vendor_errors(self) -> tuple[type[Exception], ...]:
        return (ValueError, OSError)


@pytest.fixture(autouse=True)
def children_find_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)


def opened(folder: Path, text: str) -> Runtime:
    """Returns a runtime whose file has that content."""
    (folder / "model").write_text(text)
    return BrightnessApart(folder / "model", SIDE)


def test_it_answers_as_in_this_process_and_is_closed_there(tmp_path: Path) -> None:
    with opened(tmp_path, "") as runtime:
        found = runtime.run_all(np.concatenate([IMAGES] * 20))
        expected = Brightness(tmp_path / "model", SIDE).run_batch(np.concatenate([IMAGES] * 20))
        for here, there in zip(expected, found, strict=True):
            np.testing.assert_array_equal(here, there)
        assert runtime.labels == ("dark", "bright")
    assert (tmp_path / "model.closed").exists()
    assert type(runtime).alone() is Brightness
    assert Brightness.alone() is Brightness


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refused", "brightness cannot load .*model: no such model"),
        ("ends at once", "brightness cannot load .*model: its process ended with SIGABRT"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        opened(tmp_path, text)


def test_an_error_in_the_child_keeps_its_cause(tmp_path: Path) -> None:
    with opened(tmp_path, "fails") as runtime, pytest.raises(BackendError, match="not this image") as told:
        runtime.run(IMAGES)
    assert isinstance(told.value.__cause__, ChildError)
    assert "ValueError" in str(told.value.__cause__)


def test_a_child_that_ends_by_itself_is_an_error_each_time(tmp_path: Path) -> None:
    with opened(tmp_path, "ends") as runtime:
        for _ in range(2):
            with pytest.raises(BackendError, match=r"exit code 5, after it said: Fatal: it cannot go on\."):
                runtime.run(IMAGES)


def test_a_runtime_that_is_dropped_ends_its_child(tmp_path: Path) -> None:
    runtime = opened(tmp_path, "")
    assert isinstance(runtime, RuntimeApart)
    child = runtime.child
    del runtime
    assert child.wait(timeout=10) == 0
