"""From images to faces: whole images, boxes, videos."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from arbex.errors import BackendError, DataError
from runtimes.preprocessing import Detector, faces


@pytest.fixture(scope="session")
def yunet() -> Path:
    """A face detector's weights, which are not part of the repository."""
    path = os.environ.get("ARBEX_TEST_DETECTOR")
    if not path:
        pytest.skip("set ARBEX_TEST_DETECTOR to the weights of YuNet (face_detection_yunet, from the OpenCV Zoo)")
    return Path(path)


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage import data

    path = tmp_path_factory.mktemp("real") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_without_a_detector_a_picture_is_one_face(astronaut: Path) -> None:
    found = list(faces(astronaut, 64))
    assert len(found) == 1
    assert found[0].pixels.shape == (64, 64, 3)
    assert found[0].box is None


def test_yunet_finds_the_astronaut(astronaut: Path, yunet: Path) -> None:
    found = list(faces(astronaut, 64, Detector(yunet)))
    assert len(found) == 1
    x, y, width, height = found[0].box or (0, 0, 0, 0)
    assert 150 < x < 230
    assert 50 < y < 120
    assert 60 < width < 130
    assert 70 < height < 160


def test_a_picture_without_a_face_yields_nothing(tmp_path: Path, yunet: Path) -> None:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "empty.png")
    assert list(faces(tmp_path / "empty.png", 64, Detector(yunet))) == []


def test_a_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (32, 24))
    for value in (0, 120, 250):
        writer.write(np.full((24, 32, 3), (value, 0, 0), np.uint8))  # blue, as OpenCV orders channels
    writer.release()
    found = list(faces(path, 16))
    assert [f.file for f in found] == [f"{path}#0", f"{path}#1", f"{path}#2"]
    assert found[2].pixels[8, 8, 2] > 200 > 50 > found[2].pixels[8, 8, 0]  # blue is last in RGB


def test_what_is_no_video_or_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="cannot be read as a video"):
        list(faces(tmp_path / "x.mp4", 16))
    with pytest.raises(DataError, match="OpenCV Zoo"):
        Detector(tmp_path / "nowhere.onnx")
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(BackendError, match="cannot load the detector"):
        Detector(tmp_path / "x.onnx")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        list(faces(tmp_path, 16))
