"""Equalizing the channels of a traced model on drawn faces."""

from __future__ import annotations

from dataclasses import replace

import torch

from arbex.data.augmentation import Normalize
from export.golden_images import drawn_faces
from export.trace import TracedModel
from quantize.equalize import equalize

FACES = 16
"""Number of drawn faces on which the sizes of channels are measured."""


def equalize_channels(traced: TracedModel) -> TracedModel:
    """Returns a traced model with the same outputs, and with channels of similar sizes where layers allow it.

    Drawn faces need no data set, so that every machine with the same checkpoint derives the same program.
    """
    faces = torch.tensor(drawn_faces(traced.side)[:FACES]).permute(0, 3, 1, 2)  # [16, 3, S, S]
    program, exponents = equalize(traced.program, Normalize(traced.preprocessing)(faces))
    return replace(traced, program=program, equalized=exponents)
