"""From files to the network's input on the device: faces are detected if wanted, and resized as in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbex import images
from arbex.errors import BackendError, DataError
from arbex.images import Box
from arbex.packages import OPENCV

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")


@dataclass(frozen=True)
class FaceCrop:
    """One face to classify.

    Attributes:
        file: Where it came from; a frame of a video is ``name#number``.
        pixels: uint8 RGB ``[S, S, 3]``.
        box: x, y, width and height in the image, in pixels; None for the whole image.
    """

    file: str
    pixels: NDArray[np.uint8]
    box: Box | None


def load(path: str | Path, side: int) -> NDArray[np.uint8]:
    """Reads an image file as input of the network: uint8 RGB ``[side, side, 3]``."""
    return images.load(Path(path), side)


class Detector:
    """Face detection with YuNet, through OpenCV."""

    def __init__(self, model: Path, *, threshold: float = 0.7) -> None:
        """Loads a YuNet ONNX file.

        Raises:
            MissingPackageError: If OpenCV is not installed.
            DataError: If the file is missing.
            BackendError: If OpenCV cannot load it.
        """
        cv2 = OPENCV.load()
        if not model.is_file():
            raise DataError(
                f"The detector {model} does not exist.",
                remedy="Download face_detection_yunet from the OpenCV Zoo (MIT license) and give its path.",
            )
        try:
            self.detector: Any = cv2.FaceDetectorYN.create(str(model), "", (320, 320), threshold)
        except cv2.error as error:
            raise BackendError(
                f"OpenCV cannot load the detector {model}: {error}", remedy="Give a YuNet ONNX file."
            ) from error

    def boxes(self, pixels: NDArray[np.uint8]) -> list[Box]:
        """Returns the boxes of all faces in RGB ``[H, W, 3]``, the most certain first."""
        height, width = pixels.shape[:2]
        self.detector.setInputSize((width, height))
        _, faces = self.detector.detect(np.ascontiguousarray(pixels[:, :, ::-1]))
        rows = [] if faces is None else sorted(faces.tolist(), key=lambda row: -row[-1])
        return [(round(r[0]), round(r[1]), round(r[2]), round(r[3])) for r in rows]


def frames(path: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yields the frames of a video as ``name#number`` and RGB ``[H, W, 3]``.

    Raises:
        MissingPackageError: If OpenCV is not installed.
        DataError: If the video cannot be opened or holds no frame.
    """
    cv2 = OPENCV.load()
    video = cv2.VideoCapture(str(path))
    number = 0
    try:
        while video.isOpened():
            good, frame = video.read()
            if not good:
                break
            yield f"{path}#{number}", np.ascontiguousarray(frame[:, :, ::-1])
            number += 1
    finally:
        video.release()
    if number == 0:
        raise DataError(f"{path} cannot be read as a video.", allowed=f"Allowed: {', '.join(VIDEO_SUFFIXES)}.")


def pictures(path: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yields the images of an image file, a folder or a video, as name and RGB ``[H, W, 3]``.

    Raises:
        DataError: If there is none, or one cannot be read.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        yield from frames(path)
        return
    if not path.exists():
        raise DataError(f"The image {path} does not exist.", remedy="Check the path.")
    found = images.find_images(path)
    if not found:
        raise DataError(f"The folder {path} holds no images.", allowed=f"Allowed: {', '.join(images.SUFFIXES)}.")
    for file in found:
        yield str(file), images.read_image(file)


def faces(path: Path, side: int, detector: Detector | None = None) -> Iterator[FaceCrop]:
    """Yields the faces of an image file, a folder or a video, resized to ``side``.

    Without a detector, every image is taken as one cropped face. With one, an image without a face yields nothing.
    """
    for name, pixels in pictures(path):
        if detector is None:
            yield FaceCrop(name, images.resize(pixels, side), None)
            continue
        for box in detector.boxes(pixels):
            yield FaceCrop(name, images.resize(images.crop(pixels, box), side), box)
