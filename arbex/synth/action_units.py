"""Expressions as intensities of facial action units.

Names and prototypes follow the Facial Action Coding System and its emotion tables (Ekman, Friesen, Hager 2002).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

ActionUnits: TypeAlias = dict[str, float]
"""Intensity of each action unit, 0 (absent) to 1 (maximal); those ending in ``_left`` act on one side only."""

NAMES = (
    "inner_brow_raiser",  # AU1
    "outer_brow_raiser",  # AU2
    "brow_lowerer",  # AU4
    "upper_lid_raiser",  # AU5
    "cheek_raiser",  # AU6
    "lid_tightener",  # AU7
    "nose_wrinkler",  # AU9
    "upper_lip_raiser",  # AU10
    "lip_corner_puller",  # AU12
    "lip_corner_puller_left",  # AU12L
    "dimpler_left",  # AU14L
    "lip_corner_depressor",  # AU15
    "lower_lip_depressor",  # AU16
    "chin_raiser",  # AU17
    "lip_stretcher",  # AU20
    "lip_tightener",  # AU23
    "lips_part",  # AU25
    "jaw_drop",  # AU26
)

PROTOTYPES: dict[str, ActionUnits] = {
    "neutral": {},
    "anger": {
        "brow_lowerer": 1.0,
        "upper_lid_raiser": 0.35,
        "lid_tightener": 0.8,
        "lip_tightener": 1.0,
        "chin_raiser": 0.4,
    },
    "disgust": {
        "nose_wrinkler": 1.0,
        "upper_lip_raiser": 1.0,
        "brow_lowerer": 0.45,
        "cheek_raiser": 0.5,
        "lip_corner_depressor": 0.45,
        "lower_lip_depressor": 0.4,
        "lips_part": 0.3,
    },
    "fear": {
        "inner_brow_raiser": 1.0,
        "outer_brow_raiser": 0.35,
        "brow_lowerer": 0.5,
        "upper_lid_raiser": 1.0,
        "lip_stretcher": 1.0,
        "lips_part": 0.8,
        "jaw_drop": 0.15,
    },
    "happiness": {"cheek_raiser": 0.9, "lip_corner_puller": 1.0, "lips_part": 0.7},
    "sadness": {
        "inner_brow_raiser": 0.9,
        "brow_lowerer": 0.3,
        "lip_corner_depressor": 1.0,
        "chin_raiser": 0.6,
        "lid_tightener": 0.35,
    },
    "surprise": {
        "inner_brow_raiser": 0.9,
        "outer_brow_raiser": 1.0,
        "upper_lid_raiser": 0.8,
        "lips_part": 0.6,
        "jaw_drop": 1.0,
    },
    "contempt": {"lip_corner_puller_left": 1.0, "dimpler_left": 0.9},
    # A grimace with one corner of the mouth raised, which no annotator would call one of the seven.
    "other": {
        "lip_corner_puller_left": 0.5,
        "chin_raiser": 0.9,
        "outer_brow_raiser": 0.7,
        "lip_tightener": 0.6,
    },
}


def blend(shares: dict[str, float], intensity: float) -> ActionUnits:
    """Returns the action units of a mixture of expressions.

    Args:
        shares: Share of each expression; the shares sum to 1.
        intensity: Overall intensity, 0 to 1.
    """
    units: ActionUnits = {}
    for expression, share in shares.items():
        for name, value in PROTOTYPES[expression].items():
            units[name] = units.get(name, 0.0) + share * intensity * value
    return units


def vary(units: ActionUnits, rng: np.random.Generator) -> ActionUnits:
    """Returns the units with random variations: each somewhat weaker or stronger, and small involuntary ones."""
    strength = rng.uniform(0.8, 1.15, len(NAMES))
    twitch = np.clip(rng.uniform(-0.5, 0.12, len(NAMES)), 0.0, None)
    return {name: float(min(1.0, units.get(name, 0.0) * strength[i] + twitch[i])) for i, name in enumerate(NAMES)}
