"""Draws a face: contours, projected by a pose, filled back to front."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from arbex.synth import anatomy
from arbex.synth.action_units import ActionUnits
from arbex.synth.anatomy import Points
from arbex.synth.identity import Colour, Identity, between, tint

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Pose:
    """Where the head is: angles in radians, shifts in units of half the face's width.

    Attributes:
        yaw: Turn to the viewer's right.
        pitch: Nod downwards.
        roll: Tilt clockwise.
        scale: Half the face's width relative to the image's side.
        shift: Of the head's centre from the image's centre, right and down.
        gaze: Of the irises, in shares of the eye's width and opening.
        blink: 0 open, 1 closed.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 0.37
    shift: tuple[float, float] = (0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)
    blink: float = 0.0


class Canvas:
    """An RGB image on which contours in face coordinates are painted."""

    def __init__(self, image: Image.Image, pose: Pose) -> None:
        """Wraps ``image``, whose pixels are drawn in place."""
        self.image = image
        self.draw = ImageDraw.Draw(image, "RGBA")
        self.unit = pose.scale * image.width  # pixels a face unit
        self.pose = pose
        yaw, pitch, roll = pose.yaw, pose.pitch, pose.roll
        self.turn = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
        self.tilt = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]]) * self.unit
        self.centre = np.array(pose.shift) * self.unit + image.width / 2

    def project(self, points: Points, raised: float = 0.0) -> list[int]:
        """Turns face coordinates ``[P, 2]`` into whole pixels x, y, x, y, …; ``raised`` is height above the skin."""
        cos_yaw, sin_yaw, cos_pitch, sin_pitch = self.turn
        x, y = points[:, 0], points[:, 1] - 0.20
        z = 0.75 * np.sqrt(np.maximum(1 - (x / 1.2) ** 2 - (y / 1.7) ** 2, 0)) + raised
        across = x * cos_yaw + z * sin_yaw
        down = y * cos_pitch + (z * cos_yaw - x * sin_yaw) * sin_pitch
        pixels = across[:, None] * self.tilt[:, 0] + down[:, None] * self.tilt[:, 1] + self.centre
        flat: list[int] = np.rint(pixels).astype(np.int64).ravel().tolist()
        return flat

    def fill(self, points: Points, colour: Colour, opacity: float = 1.0, raised: float = 0.0) -> None:
        """Paints the inside of a closed contour."""
        self.draw.polygon(self.project(points, raised), fill=rgba(colour, opacity))

    def stroke(self, points: Points, colour: Colour, width: float, opacity: float = 1.0, raised: float = 0.0) -> None:
        """Paints a line; ``width`` is in face units."""
        pixels = max(1, round(width * self.unit))
        self.draw.line(self.project(points, raised), fill=rgba(colour, opacity), width=pixels, joint="curve")

    def disc(self, centre: tuple[float, float], radius: tuple[float, float], colour: Colour, opacity: float) -> None:
        """Paints an ellipse."""
        self.fill(anatomy.CIRCLE * radius + centre, colour, opacity)


def rgba(colour: Colour, opacity: float) -> tuple[int, int, int, int]:
    """Returns a colour with opacity 0..1 as four bytes."""
    red, green, blue = (min(255, max(0, round(c))) for c in colour)
    return red, green, blue, min(255, max(0, round(255 * opacity)))


def draw_head(canvas: Canvas, identity: Identity, units: ActionUnits, light: float) -> None:
    """Paints neck, ears, skin and the hair behind the face; ``light`` in -1..1 comes from the left or right."""
    i, skin, dark = identity, identity.skin, tint(identity.skin, 0.72)
    if i.hair_length > 0:
        length = i.hair_length
        back = anatomy.curve(
            (0, -1.5), (1.0, -1.05), (1.22, 0), (1.1, length), (-1.1, length), (-1.22, 0), (-1.0, -1.05)
        )
        canvas.fill(back, tint(i.hair, 0.75), raised=-0.4)
    canvas.fill(np.array([[-0.5, 0.8], [0.5, 0.8], [0.60, 2.4], [-0.60, 2.4]]), dark, raised=-0.3)
    shirt = between(i.iris, (90, 90, 120), 0.6)
    canvas.fill(np.array([[-0.6, 1.55], [0.6, 1.55], [1.9, 1.9], [2.2, 3.4], [-2.2, 3.4], [-1.9, 1.9]]), shirt)
    for side in (-1, 1):
        canvas.disc((side * 1.0, 0.16), (0.14 * i.ears, 0.26 * i.ears), tint(skin, 0.84), 1.0)
    face = anatomy.outline(i, units)
    centre = np.array([0.16 * light, 0.05])
    for step in range(6):  # nested copies round the face towards the light
        share = step / 5
        canvas.fill(centre * share + face * (1 - 0.42 * share**1.3), tint(skin, 0.80 + 0.24 * share))
    if i.beard:
        chin = face[:, 1].max()
        beard = face[face[:, 1] > i.mouth_height - 0.22]
        canvas.fill(beard, i.hair, i.beard)
        canvas.disc((0, (chin + i.mouth_height) / 2), (0.3, 0.2), i.hair, i.beard * 0.4)


def draw_hair(canvas: Canvas, identity: Identity) -> None:
    """Paints the hair above the face."""
    i = identity
    if i.hair_length < 0:  # cropped: a cap only
        rim = [(0.95, -0.55), (0.72, -i.hairline - 0.12), (0, -i.hairline - 0.2), (-0.72, -i.hairline - 0.12)]
    else:
        rim = [
            (1.02, -0.2),
            (0.82, -i.hairline + 0.1),
            (0.1, -i.hairline - i.fringe),
            (-0.82, -i.hairline + 0.05),
        ]
    crown = anatomy.curve((-1.05, -0.35), (-1.0, -0.95), (0, -1.52), (1.0, -0.95), (1.05, -0.35), *rim, closed=True)
    canvas.fill(crown, i.hair)
    if i.fringe:
        y = -i.brow_height - 0.32 - i.fringe
        canvas.fill(
            anatomy.curve((-0.8, -1.1), (0.8, -1.1), (0.72, y), (0, y + 0.08), (-0.72, y), closed=True),
            i.hair,
        )


def draw_eyes(canvas: Canvas, identity: Identity, units: ActionUnits) -> None:
    """Paints eyes, brows and glasses."""
    i, pose = identity, canvas.pose
    lid = tint(i.skin, 0.62)
    for side in (-1, 1):
        eye = anatomy.eye(i, units, side, pose.gaze, pose.blink)
        canvas.disc((eye.centre[0], -0.02), (i.eye_width * 1.25, i.eye_opening * 2.1), tint(i.skin, 0.86), 0.45)
        canvas.fill(eye.lids, (244, 240, 236))
        if eye.openness > 0.25 * i.eye_opening:
            canvas.fill(eye.iris, i.iris)
            canvas.fill(eye.pupil, (16, 12, 12))
            shine = (eye.centre[0] + pose.gaze[0] * i.eye_width - 0.025, -0.3 * i.eye_opening)
            canvas.disc(shine, (0.016, 0.016), (255, 255, 255), 0.9)
        canvas.stroke(eye.upper, tint(lid, 0.45), 0.030)
        fold = eye.upper + [0, -0.045 - 0.02 * units["upper_lid_raiser"]]
        canvas.stroke(fold, lid, 0.014, 0.6)
        canvas.fill(anatomy.brow(i, units, side), tint(i.hair, 0.6), 0.95, raised=0.02)
        if i.glasses:
            circle = np.concatenate([anatomy.CIRCLE, anatomy.CIRCLE[:1]])
            rim = circle * (i.glasses + 0.04, i.glasses) + (eye.centre[0], 0.03)
            canvas.stroke(rim, (30, 30, 36), 0.03, 0.95, raised=0.08)
            arm = np.array([[side * (i.eye_distance + i.glasses + 0.03), 0.0], [side * 1.02, -0.03]])
            canvas.stroke(arm, (30, 30, 36), 0.03, 0.95)
    if i.glasses:
        inner = i.eye_distance - i.glasses - 0.03
        canvas.stroke(np.array([[-inner, 0.02], [0, -0.03], [inner, 0.02]]), (30, 30, 36), 0.03, 0.95, raised=0.12)


def draw_mouth(canvas: Canvas, identity: Identity, units: ActionUnits) -> anatomy.Mouth:
    """Paints lips, teeth and tongue and returns the mouth's contours."""
    mouth = anatomy.mouth(identity, units)
    canvas.fill(mouth.outer, identity.lips, raised=0.02)
    if mouth.gap > 0.012:
        canvas.fill(mouth.opening, (52, 18, 20), raised=0.02)
        upper, lower = np.split(mouth.opening, 2)
        lower = lower[::-1]
        teeth = np.minimum(upper[:, 1] + 0.075, lower[:, 1])
        middle = np.abs(upper[:, 0]) < 0.82 * np.abs(upper[:, 0]).max()
        row = np.vstack([upper[middle], np.stack([upper[:, 0], teeth], 1)[middle][::-1]])
        canvas.fill(row, (238, 234, 226), raised=0.02)
        if mouth.gap > 0.16:
            bottom = lower[len(lower) // 2]
            tongue = (float(bottom[0]), float(bottom[1]) - 0.03)
            canvas.disc(tongue, (0.45 * identity.mouth_width, 0.035 + 0.05 * mouth.gap), (178, 84, 88), 0.9)
    else:
        canvas.stroke(mouth.line, tint(identity.lips, 0.45), 0.024, raised=0.02)
    return mouth


def draw_skin(canvas: Canvas, identity: Identity, units: ActionUnits, corners: Points) -> None:
    """Paints the nose, the folds and the cheeks."""
    shade = tint(identity.skin, 0.6)
    for side in (-1, 1):
        bulge = 0.12 + 0.35 * units["cheek_raiser"]
        canvas.disc((side * 0.56, 0.40), (0.22, 0.13), between(identity.skin, (214, 110, 96), 0.5), bulge)
    for points, strength in anatomy.wrinkles(identity, units, corners):
        if strength > 0.06:
            canvas.stroke(points, shade, 0.022 + 0.014 * strength, min(1.0, 0.75 * strength))
    strokes, nostrils = anatomy.nose(identity, units)
    for points in strokes:
        canvas.stroke(points, shade, 0.024, 0.7, raised=0.16)
    for x, y in nostrils:
        canvas.disc((x, y), (0.040, 0.022), tint(identity.skin, 0.35), 0.9)


def draw(
    identity: Identity, units: ActionUnits, pose: Pose, light: float, background: Image.Image
) -> NDArray[np.uint8]:
    """Paints a face over ``background``, a square of ``SUPERSAMPLING`` times the wanted side.

    Returns:
        uint8 RGB ``[S, S, 3]``.
    """
    canvas = Canvas(background, pose)
    draw_head(canvas, identity, units, light)
    corners = anatomy.mouth(identity, units).corners
    draw_skin(canvas, identity, units, corners)
    draw_mouth(canvas, identity, units)
    draw_hair(canvas, identity)
    draw_eyes(canvas, identity, units)
    return np.asarray(canvas.image.reduce(SUPERSAMPLING))
