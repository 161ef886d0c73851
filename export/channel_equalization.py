"""Equalizing the channels of a traced model on drawn faces."""

from __future__ import annotations

from dataclasses import replace

import torch

from arbex.data.augmentation import Normalize
from export.golden_images import drawn_faces
from export.trace import TracedModel
from quantize.equalize import equalize

FACES = 16
"""Drawn faces that show how large channels become."""


def equalize_channels(traced: TracedModel) -> TracedModel:
    """Returns a traced model that answers the same, with channels of similar sizes where layers allow it.

    Drawn faces need no data set, so that every machine that holds the checkpoint finds the same program.
    """
    faces = torch.tensor(drawn_faces(traced.side)[:FACES]).permute(0, 3, 1, 2)  # [16, 3, S, S]
    program, exponents = equalize(traced.program, Normalize(traced.preprocessing)(faces))
    return replace(traced, program=program, equalized=exponents)
