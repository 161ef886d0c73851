"""Faces that are nobody's: what a bundle may show and a program may be measured on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from arbex.images import resize
from arbex.spec import EXPRESSIONS
from arbex.synth import SynthConfig, draw_face
from arbex.synth.dataset import plan

FACES = 32


def drawn_faces(side: int) -> NDArray[np.uint8]:
    """Returns procedural faces uint8 ``[32, side, side, 3]``, always the same: no user's image leaves the house."""
    faces: NDArray[np.uint8] = draw(side).copy()
    return faces


@lru_cache
def draw(side: int) -> NDArray[np.uint8]:
    """Draws them once a side."""
    config = SynthConfig(
        images=8 * len(EXPRESSIONS), subjects=8, seed=2023, image_size=max(side, 32), classes=EXPRESSIONS
    )
    faces: NDArray[np.uint8] = np.stack([resize(draw_face(config, f).image, side) for f in plan(config)[:FACES]])
    return faces
