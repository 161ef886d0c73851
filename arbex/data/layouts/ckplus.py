"""The layout ``ckplus``: CK+ (Lucey et al. 2010), posed expressions, in the two forms in which it is given out.

cohn-kanade-images/S005/001/S005_001_00000011.png              the original sequences, from neutral to the peak
Emotion/S005/001/S005_001_00000011_emotion.txt                 the emotion of a sequence, named after its last frame
Landmarks/S005/001/S005_001_00000011_landmarks.txt             68 points per frame, which tell where the face is
CK+48/anger/S010_004_00000017.png                              or folders of faces that were cut out, "CK+48"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from arbex.data.layouts.base import class_of_folder
from arbex.data.layouts.people import PeopleLayout, PersonsFace
from arbex.errors import DataError
from arbex.images import Box, find_images
from arbex.spec import EXPRESSIONS

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""Classes by the numbers in the emotion files."""

CLASSES = (*EXPRESSIONS, "contempt")
NAME = re.compile(r"(?P<person>S\d{3})_\d{3}_\d{8}\.png", re.IGNORECASE)
SEQUENCES, EMOTIONS, LANDMARKS = "cohn-kanade-images", "Emotion", "Landmarks"

PEAK_FRAMES: Final = 3
"""The last frames of a sequence show its emotion; the first one is neutral. This is the usual choice."""

FOREHEAD: Final = 0.25
"""The landmarks end at the eyebrows; the box of a face goes beyond them by this share of its height."""


class CkPlus(PeopleLayout):
    """327 labeled sequences of 118 people: 1,308 frames with the neutral ones, or 981 faces that were cut out.

    Options:
        contempt: ``drop`` leaves this class out.
    """

    name = "ckplus"
    example = "anger/S010_004_00000017.png"
    other_form = f"; or the folders {SEQUENCES}, {EMOTIONS} and {LANDMARKS}"
    options = {**PeopleLayout.options, "contempt": ("keep", "drop")}

    def labels(self, split: str) -> tuple[str, ...]:
        """Returns the expressions that occur; faces that were cut out are never neutral."""
        there = {face.expression for face in self.faces}
        return tuple(name for name in CLASSES if name in there)

    def find_faces(self) -> list[PersonsFace]:
        """Returns the labeled frames, or the faces that were cut out."""
        found = self.sequence_frames() if (self.root / SEQUENCES).is_dir() else self.cut_faces()
        dropped = "contempt" if self.chosen["contempt"] == "drop" else None
        return [face for face in found if face.expression != dropped]

    def cut_faces(self) -> Iterator[PersonsFace]:
        """Yields faces whose folder is named after a class.

        Raises:
            DataError: If one is named after something else.
        """
        for file in find_images(self.root):
            match = NAME.fullmatch(file.name)
            if match:
                yield PersonsFace(file, match["person"], class_of_folder(file, CLASSES, "CK+"))

    def sequence_frames(self) -> Iterator[PersonsFace]:
        """Yields the first and the last frames of each sequence that has an emotion.

        Raises:
            DataError: If an emotion, frames or landmarks are missing or cannot be read.
        """
        landmarks = self.part(LANDMARKS)
        for label in sorted(self.part(EMOTIONS).rglob("*_emotion.txt")):
            person, sequence = label.parts[-3:-1]
            expression = read_emotion(label)
            frames = [f for f in find_images(self.root / SEQUENCES / person / sequence) if NAME.fullmatch(f.name)]
            if len(frames) <= PEAK_FRAMES:
                raise DataError(
                    f"The sequence {self.root / SEQUENCES / person / sequence} has {len(frames)} frames.",
                    allowed=f"Allowed: {PEAK_FRAMES + 1} or more.",
                    remedy="Unpack extended-cohn-kanade-images.zip again.",
                )
            for file, shown in [(frames[0], CODES[0]), *((frame, expression) for frame in frames[-PEAK_FRAMES:])]:
                points = landmarks / person / sequence / f"{file.stem}_landmarks.txt"
                yield PersonsFace(file, person, shown, box_around(points))

    def part(self, name: str) -> Path:
        """Returns the folder of labels or landmarks, which unpacking may have put into one of the same name.

        Raises:
            DataError: If it does not exist.
        """
        places = (self.root / name / name, self.root / f"{name}_labels" / name, self.root / name)
        found = next((place for place in places if place.is_dir()), None)
        if found is None:
            raise self.missing(name, f"{SEQUENCES} next to {EMOTIONS} and {LANDMARKS}; or {self.example}, at any depth")
        return found


def read_emotion(file: Path) -> str:
    """Reads the emotion of a sequence, such as ``3.0000000e+00``.

    Raises:
        DataError: If the file holds something else.
    """
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    try:
        code = float(text)
        if code != int(code) or not 1 <= code < len(CODES):
            raise ValueError(code)
    except (ValueError, OverflowError):
        raise DataError(
            f"{file} cannot be read: {text[:40]!r}.",
            allowed=f"Allowed: a number from 1 to {len(CODES) - 1}.",
            remedy="Unpack Emotion_labels.zip again.",
        ) from None
    return CODES[int(code)]


def box_around(file: Path) -> Box:
    """Reads the landmarks of a frame, and returns the box from the forehead to the chin.

    Raises:
        DataError: If the file does not hold landmarks.
    """
    try:
        points = np.array([[float(word) for word in line.split()] for line in file.read_text().splitlines() if line])
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not np.isfinite(points).all():
            raise ValueError(f"{points.shape} numbers")
    except (OSError, ValueError) as error:
        raise DataError(
            f"The landmarks {file} cannot be read: {error}.",
            allowed="Allowed: a line per point, with its place from the left and from the top in pixels.",
            remedy="Unpack Landmarks.zip next to cohn-kanade-images.",
        ) from error
    (left, top), (right, bottom) = points.min(0), points.max(0)
    top -= FOREHEAD * (bottom - top)
    return round(left), round(top), max(1, round(right - left)), max(1, round(bottom - top))
