"""Contours of a face from an identity and its action units.

In face coordinates, x points to the viewer's right and y down, the origin is between the eyes, and the unit is half the
face's width. Contours are ``[P, 2]``; ``side`` is -1 for the viewer's left and +1 for the viewer's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from arbex.synth.action_units import ActionUnits
from arbex.synth.identity import Identity

Points = NDArray[np.float64]


ANGLES = 2 * np.pi * np.arange(24) / 24
CIRCLE: Points = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
"""A circle of radius 1."""

FAINTEST_FOLD = 0.06
"""Strength below which a skin fold is not drawn."""

LIP = np.linspace(-1, 1, 29)
"""Positions along a lip of four segments, from corner to corner."""
LIP_RAMP = np.sqrt(np.clip(1 - LIP**2, 0, None))[:, None]  # 0 at the corners
CUPID = 1 - 0.22 * np.exp(-((LIP / 0.16) ** 2))[:, None]  # the dent in the middle of the upper lip
EYE_X = np.linspace(-1, 1, 13)
EYE_ARCH = np.sqrt(np.clip(1 - np.abs(EYE_X) ** 2.2, 0, None))


@cache
def basis(samples: int) -> tuple[Points, Points, Points, Points]:
    """Returns the four Catmull-Rom weights at ``samples`` points of a segment, ``[samples, 1]`` each."""
    t = (np.arange(samples) / samples)[:, None]
    return (2 * t**2 - t - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2, (t**3 - t**2) / 2


def curve(*knots: tuple[float, float], samples: int = 7, closed: bool = False) -> Points:
    """Returns a Catmull-Rom curve through the knots, with ``samples`` points per segment."""
    if closed:
        padded = np.array((knots[-1], *knots, knots[0], knots[1]))[:, None]  # [K + 3, 1, 2]
    else:
        padded = np.array((knots[0], *knots, knots[-1]))[:, None]  # [K + 2, 1, 2]
    before, start, end, after = basis(samples)
    points = padded[:-3] * before + padded[1:-2] * start + padded[2:-1] * end + padded[3:] * after  # [S, samples, 2]
    out: Points = points.reshape(-1, 2)
    return out if closed else np.concatenate([out, padded[-1]])


@dataclass(frozen=True, kw_only=True)
class Mouth:
    """Contours of the mouth.

    Attributes:
        outer: Closed contour of both lips.
        opening: Closed contour of the opening between them, flat if the mouth is closed.
        line: Lower edge of the upper lip.
        gap: Height of the opening at its center.
        corners: Left and right corner ``[2, 2]``.
    """

    outer: Points
    opening: Points
    line: Points
    gap: float
    corners: Points


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Contours of one eye.

    Attributes:
        lids: Closed contour of the opening between the lids.
        iris: Closed contour of the visible part of the iris.
        pupil: Closed contour of the visible part of the pupil.
        upper: Edge of the upper lid.
        center: Center of the eye.
        openness: Height of the opening at its center.
    """

    lids: Points
    iris: Points
    pupil: Points
    upper: Points
    center: tuple[float, float]
    openness: float


def outline(identity: Identity, units: ActionUnits) -> Points:
    """Returns the closed contour of the face; a dropped jaw lengthens it."""
    chin = identity.face_height - 0.12 + 0.20 * units["jaw_drop"] - 0.03 * units["chin_raiser"]
    jaw, tip = identity.jaw_width, identity.chin_width
    top = -identity.face_height + 0.18
    right = [
        (0.55, top + 0.12),
        (0.90, -0.62),
        (1.0, -0.05),
        (0.94, 0.42),
        (jaw, chin - 0.44),
        (tip, chin - 0.06),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    return curve((0, top), *right, (0, chin), *left, samples=6, closed=True)


def brow(identity: Identity, units: ActionUnits, side: int) -> Points:
    """Returns the closed contour of one eyebrow."""
    inner_lift = 0.15 * units["inner_brow_raiser"] - 0.13 * units["brow_lowerer"] - 0.07 * units["nose_wrinkler"]
    outer_lift = 0.15 * units["outer_brow_raiser"] - 0.03 * units["brow_lowerer"]
    pinch = 0.07 * units["brow_lowerer"] + 0.02 * units["inner_brow_raiser"]
    y, thick = -identity.brow_height, identity.brow_thickness
    inner = (identity.eye_distance - identity.eye_width - 0.02 - pinch, y - inner_lift)
    middle_lift = 0.45 * inner_lift + 0.55 * outer_lift
    middle = (identity.eye_distance + 0.02, y - identity.brow_arch - middle_lift)
    outer = (identity.eye_distance + identity.eye_width + 0.07, y + 0.03 - outer_lift)
    spine = curve(inner, middle, outer, samples=6)  # [P, 2]
    taper = np.linspace(1.0, 0.25, len(spine)) * thick / 2
    contour = np.vstack([spine - [0, 1] * taper[:, None], (spine + [0, 1] * taper[:, None])[::-1]])
    return contour * [side, 1]


def eye(identity: Identity, units: ActionUnits, side: int, gaze: tuple[float, float], blink: float) -> Eye:
    """Returns the contours of one eye.

    Args:
        identity: The person.
        units: Action units.
        side: -1 or +1.
        gaze: Shift of the iris, in shares of the eye's width and opening.
        blink: 0 (open) to 1 (closed).
    """
    half, open_ = identity.eye_width, identity.eye_opening
    squeeze = 0.5 * units["lid_tightener"] + 0.45 * units["cheek_raiser"] + 0.35 * units["nose_wrinkler"]
    upper = open_ * (1 + 0.85 * units["upper_lid_raiser"] - 0.35 * squeeze) * (1 - blink)
    lower = open_ * 0.8 * (1 + 0.25 * units["upper_lid_raiser"] - 0.9 * min(squeeze, 1.0)) * (1 - 0.5 * blink)
    center = (identity.eye_distance * side, 0.0)
    slant = identity.eye_slant
    x = EYE_X
    tilt = -slant * x  # outer corner up for a positive slant
    top, bottom = -upper * EYE_ARCH + tilt, lower * EYE_ARCH + tilt
    xs = center[0] + side * half * x
    lids = np.vstack([np.stack([xs, top], 1), np.stack([xs, bottom], 1)[::-1]])
    ix, iy = gaze[0] * half, gaze[1] * open_ - 0.1 * open_

    def disc(radius: float) -> Points:
        dx = ix + radius * CIRCLE[:, 0]  # relative to the center, in the viewer's direction
        dy = np.clip(
            iy + radius * CIRCLE[:, 1],
            np.interp(dx * side / half, x, top),
            np.interp(dx * side / half, x, bottom),
        )
        return np.stack([center[0] + dx, dy], 1)

    radius = 1.05 * open_
    return Eye(
        lids=lids,
        iris=disc(radius),
        pupil=disc(radius * 0.45),
        upper=np.stack([xs, top], 1),
        center=center,
        openness=upper + lower,
    )


def mouth(identity: Identity, units: ActionUnits) -> Mouth:
    """Returns the contours of the lips and of the opening between them."""
    u = units
    stretch = 0.09 * u["lip_corner_puller"] + 0.13 * u["lip_stretcher"]
    stretch -= 0.07 * u["jaw_drop"] + 0.04 * u["lip_tightener"] + 0.02 * u["upper_lip_raiser"]
    half = identity.mouth_width + stretch
    rise = 0.17 * u["lip_corner_puller"] - 0.15 * u["lip_corner_depressor"] - 0.03 * u["lip_stretcher"]
    rise += identity.mouth_rest
    left_rise = rise + 0.16 * u["lip_corner_puller_left"]
    y = identity.mouth_height + 0.03 * u["jaw_drop"] - 0.02 * u["upper_lip_raiser"] - 0.02 * u["chin_raiser"]
    part = u["lips_part"]
    gap_up = 0.015 * part + 0.02 * u["jaw_drop"] + 0.05 * u["upper_lip_raiser"] * (0.4 + part)
    gap_down = 0.055 * part + 0.25 * u["jaw_drop"] + 0.03 * u["lower_lip_depressor"] * (0.5 + part)
    gap_down += 0.035 * u["lip_stretcher"] * part + 0.04 * u["lip_corner_puller"] * part
    tight = 1 - 0.65 * u["lip_tightener"] - 0.2 * u["lip_corner_puller"] - 0.25 * u["lip_stretcher"]
    upper = identity.upper_lip * max(tight, 0.25)
    lower = identity.lower_lip * max(tight, 0.25) * (1 + 0.25 * u["chin_raiser"])
    bow = 0.10 * u["upper_lip_raiser"] + 0.035 * u["chin_raiser"]  # the middle of the upper lip moves up
    sag = rise * 0.5  # a smile bends the middle down, a frown up
    top, bottom = y - gap_up - bow + sag * 0.4, y + gap_down + sag * 0.4 - 0.05 * u["chin_raiser"]
    hinge = y + 0.45 * gap_down * u["jaw_drop"]  # corners of a dropped jaw lie halfway down the opening
    left, right = (-half - 0.03 * u["dimpler_left"], hinge - left_rise), (half, hinge - rise)
    mid_l, mid_r = (left[1] + top) / 2, (right[1] + top) / 2
    low_l, low_r = (left[1] + bottom) / 2, (right[1] + bottom) / 2
    x = 0.52 * half
    square = 0.25 * (gap_up + gap_down)  # an open mouth is rounder than a lens
    upper_inner = curve(left, (-x, mid_l - square + sag * 0.5), (0, top), (x, mid_r - square + sag * 0.5), right)
    lower_inner = curve(left, (-x, low_l + square + sag * 0.5), (0, bottom), (x, low_r + square + sag * 0.5), right)
    lower_inner[:, 1] = np.maximum(lower_inner[:, 1], upper_inner[:, 1])
    upper_outer = upper_inner - [0, upper] * LIP_RAMP * CUPID
    lower_outer = lower_inner + [0, lower] * LIP_RAMP
    return Mouth(
        outer=np.vstack([upper_outer, lower_outer[::-1]]),
        opening=np.vstack([upper_inner, lower_inner[::-1]]),
        line=upper_inner,
        gap=bottom - top,
        corners=np.array([left, right]),
    )


def nose(identity: Identity, units: ActionUnits) -> tuple[list[Points], Points]:
    """Returns the shadow strokes of the nose, and the centers of its nostrils [2, 2]."""
    lift = 0.05 * units["nose_wrinkler"]
    flare = 1 + 0.18 * units["nose_wrinkler"]
    y, half = identity.nose_length - lift, identity.nose_width * flare
    bridge = curve((0.11, -0.08), (0.09, y * 0.45), (0.11, y * 0.75), samples=5)
    base = curve((-half, y - 0.05), (-half * 0.85, y + 0.02), (0, y + 0.05), (half * 0.85, y + 0.02), (half, y - 0.05))
    wings = [
        curve((s * half, y - 0.10), (s * half * 1.1, y - 0.04), (s * half * 0.85, y + 0.01), samples=4) for s in (-1, 1)
    ]
    return [bridge, base, *wings], np.array([[-half * 0.45, y + 0.01], [half * 0.45, y + 0.01]])


def wrinkles(identity: Identity, units: ActionUnits, corners: Points) -> list[tuple[Points, float]]:
    """Returns the visible skin folds, with their strength in 0..1."""
    folds: list[tuple[Points, float]] = []

    def fold(strength: float, *knots: tuple[float, float]) -> None:
        if strength > FAINTEST_FOLD:
            folds.append((curve(*knots), strength))

    u = units
    raised = min(u["inner_brow_raiser"], 1.0)
    y = -identity.brow_height - 0.22
    for i in range(3):
        reach = 0.30 + 0.25 * u["outer_brow_raiser"]
        level = y - 0.11 * i
        fold(0.65 * raised, (-reach, level), (0, level - 0.03), (reach, level))
    for side in (-1, 1):
        top, x = -identity.brow_height - 0.10, 0.055 * side
        fold(0.9 * u["brow_lowerer"], (x, top), (x * 0.8, top + 0.16))
        for i in range(2):
            y0 = 0.05 + 0.09 * i
            fold(u["nose_wrinkler"], (0.02 * side, y0), (0.14 * side, y0 - 0.06))
        outer = (identity.eye_distance + identity.eye_width) * side
        for dy in (-0.05, 0.03):
            fold(u["cheek_raiser"], (outer + 0.05 * side, dy * 0.6), (outer + 0.16 * side, dy * 2))
        wing = (side * (identity.nose_width + 0.06), identity.nose_length - 0.06)
        corner = corners[0 if side < 0 else 1]
        end = (corner[0] + 0.10 * side, corner[1] - 0.02)
        bulge = ((wing[0] + end[0]) / 2 + 0.07 * side, (wing[1] + end[1]) / 2)
        depth = max(u["lip_corner_puller"], 0.9 * u["upper_lip_raiser"], 0.6 * u["nose_wrinkler"], 0.12)
        if side < 0:
            depth = max(depth, u["lip_corner_puller_left"])
        fold(depth, wing, bulge, end)
        fold(
            0.15 + 0.6 * u["cheek_raiser"],
            (side * (identity.eye_distance - 0.17), 0.13),
            (side * identity.eye_distance, 0.19),
            (side * (identity.eye_distance + 0.2), 0.12),
        )
    chin = identity.mouth_height + 0.24
    fold(0.2 + 0.7 * u["chin_raiser"], (-0.16, chin + 0.02), (0, chin - 0.02), (0.16, chin + 0.02))
    x, y0 = corners[0]
    fold(u["dimpler_left"], (x - 0.05, y0 - 0.08), (x - 0.09, y0), (x - 0.05, y0 + 0.07))
    return folds
