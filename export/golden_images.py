"""Drawn faces, which show nobody: bundles may contain them, and programs are measured on them."""

from __future__ import annotations

from functools import lru_cache
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arbex.images import resize
from arbex.progress import SILENT, Reporter
from arbex.reference import answer
from arbex.spec import EXPRESSIONS
from arbex.synth import SynthConfig, draw_face
from arbex.synth.dataset import plan
from runtimes.base import Prediction
from runtimes.golden import Golden, Picture

if TYPE_CHECKING:
    from arbex.models import ExpressionClassifier

FACES = 32
"""Number of drawn faces that programs are measured on."""

GOLDEN = 64
"""Number of golden images."""

CANDIDATES = 160
"""Number of faces that golden images are chosen from."""

EXTREMES, PER_CLASS = 4, 3
"""Numbers of golden images that are darkest, and brightest, and of those that are surest of each class."""

PICTURE_SIDE = 256
"""Side of the faces that pictures of other sizes are made of, in pixels."""

SIZES = ((2.0, 2.0), (1.5, 1.5), (1.02, 0.98), (0.5, 0.5), (2.0, 1.2), (0.8, 1.7), (1.3, 1.9), (0.7, 0.4))
"""Width and height of these pictures, relative to the side of the network's input."""

LIGHT = (0.25, 0.5, 1.5, 2.5)
"""Factors of the light of every fifth candidate; values are cut at 255."""


def drawn_faces(side: int) -> NDArray[np.uint8]:
    """Returns procedural faces, always the same, uint8 ``[32, side, side, 3]``: a bundle contains no user's images."""
    faces: NDArray[np.uint8] = draw(side).copy()
    return faces


@lru_cache
def draw(side: int, subjects: int = 8, count: int = FACES) -> NDArray[np.uint8]:
    """Draws faces, seven of each subject, once per side."""
    classes = len(EXPRESSIONS)
    config = SynthConfig(
        images=subjects * classes, subjects=subjects, seed=2023, image_size=max(side, 32), classes=EXPRESSIONS
    )
    faces: NDArray[np.uint8] = np.stack([resize(draw_face(config, f).image, side) for f in plan(config)[:count]])
    return faces


def candidates(side: int) -> NDArray[np.uint8]:
    """Returns the faces that golden images are chosen from, every fifth in other light."""
    faces: NDArray[np.uint8] = draw(side, subjects=-(-CANDIDATES // len(EXPRESSIONS)), count=CANDIDATES).copy()
    for i, factor in zip(range(0, CANDIDATES, 5), cycle(LIGHT)):
        faces[i] = np.clip(faces[i] * factor, 0, 255).astype(np.uint8)
    return faces


def golden_vectors(model: ExpressionClassifier, side: int, report: Reporter = SILENT) -> Golden:
    """Returns golden vectors that a model answers in many ways: extremes of light, every class, and close calls.

    Close calls make up the rest, since a small defect changes them most.

    Args:
        model: The model.
        side: Side of the images in pixels.
        report: Receives progress.
    """
    images = candidates(side)
    answers = Prediction(*answer(model, images, report=report))
    chosen = np.sort(choose(images, answers))
    return Golden(
        images=images[chosen],
        expected=Prediction(*(values[chosen] for values in answers)),
        pictures=pictures(side),
    )


def pictures(side: int) -> tuple[Picture, ...]:
    """Returns pictures of other sizes with what preprocessing makes of them: larger, smaller, wide and tall."""
    found = []
    for face, (width, height) in zip(draw(PICTURE_SIDE, count=len(SIZES)), SIZES, strict=True):
        shape = max(8, round(width * side)), max(8, round(height * side))
        original = np.asarray(Image.fromarray(face).resize(shape, Image.Resampling.BICUBIC))
        found.append(Picture(original, resize(original, side)))
    return tuple(found)


def choose(images: NDArray[np.uint8], answers: Prediction) -> NDArray[np.intp]:
    """Returns the positions of the golden images among candidates."""
    light = np.argsort(images.reshape(len(images), -1).mean(1), kind="stable")
    surest = np.argsort(-answers.primary, axis=0, kind="stable")[:PER_CLASS].T.reshape(-1)
    two = np.sort(answers.corrected, axis=1)[:, -2:]
    closest = np.argsort(two[:, 1] - two[:, 0], kind="stable")
    wanted = np.concatenate([light[:EXTREMES], light[-EXTREMES:], surest, closest])
    _, first = np.unique(wanted, return_index=True)
    found: NDArray[np.intp] = wanted[np.sort(first)][:GOLDEN]
    return found
