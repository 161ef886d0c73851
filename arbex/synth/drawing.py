"""Drawing a face: contours are collected from back to front, projected together by a pose, and painted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from arbex.synth import anatomy
from arbex.synth.action_units import ActionUnits
from arbex.synth.anatomy import Points
from arbex.synth.identity import Color, Identity, between, tint

SUPERSAMPLING = 2
"""Size of a drawing relative to the finished image."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Pose of the head, gaze and blink.

    Attributes:
        yaw: Turn to the viewer's right, in radians.
        pitch: Nod downward, in radians.
        roll: Tilt clockwise, in radians.
        scale: Half the face's width relative to the image's side.
        shift: Shift of the head from the image's center to the right and down, in units of half the face's width.
        gaze: Shift of the irises, in shares of the eye's width and opening.
        blink: 0 (open) to 1 (closed).
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 0.37
    shift: tuple[float, float] = (0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)
    blink: float = 0.0


class Shape(NamedTuple):
    """A contour that is to be painted.

    Attributes:
        points: Contour ``[P, 2]`` in face coordinates.
        raised: Height above the skin, in face units.
        color: Red, green, blue and opacity in 0..255.
        width: Width of the line in pixels; None fills the contour.
    """

    points: Points
    raised: float
    color: tuple[int, int, int, int]
    width: int | None


class Canvas:
    """Collects contours in face coordinates, from back to front, and paints them on an RGB image."""

    def __init__(self, image: Image.Image, pose: Pose) -> None:
        """Prepares to paint on ``image``, in place."""
        self.image = image
        self.unit = pose.scale * image.width  # pixels per face unit
        self.pose = pose
        self.shapes: list[Shape] = []

    def fill(self, points: Points, color: Color, opacity: float = 1.0, raised: float = 0.0) -> None:
        """Adds the inside of a closed contour; ``raised`` is its height above the skin."""
        self.shapes.append(Shape(points, raised, rgba(color, opacity), None))

    def stroke(self, points: Points, color: Color, width: float, opacity: float = 1.0, raised: float = 0.0) -> None:
        """Adds a line; ``width`` is in face units."""
        self.shapes.append(Shape(points, raised, rgba(color, opacity), max(1, round(width * self.unit))))

    def disc(self, center: tuple[float, float], radius: tuple[float, float], color: Color, opacity: float) -> None:
        """Adds an ellipse."""
        self.fill(anatomy.CIRCLE * radius + center, color, opacity)

    def project(self, points: Points, raised: NDArray[np.float64]) -> list[int]:
        """Maps face coordinates ``[P, 2]`` at heights ``[P]`` above the skin to whole pixels, x and y in turn."""
        pose = self.pose
        cos_yaw, sin_yaw, sin_pitch = math.cos(pose.yaw), math.sin(pose.yaw), math.sin(pose.pitch)
        cos_roll, sin_roll = math.cos(pose.roll), math.sin(pose.roll)
        tilt = np.array([[cos_roll, -sin_roll], [sin_roll, cos_roll]]) * self.unit
        x, y = points[:, 0], points[:, 1] - 0.20
        z = 0.75 * np.sqrt(np.maximum(1 - (x / 1.2) ** 2 - (y / 1.7) ** 2, 0)) + raised
        across = x * cos_yaw + z * sin_yaw
        down = y * math.cos(pose.pitch) + (z * cos_yaw - x * sin_yaw) * sin_pitch
        center = np.array(pose.shift) * self.unit + self.image.width / 2
        pixels = across[:, None] * tilt[:, 0] + down[:, None] * tilt[:, 1] + center
        flat: list[int] = np.rint(pixels).astype(np.int64).ravel().tolist()
        return flat

    def paint(self) -> None:
        """Paints all shapes. They are projected in one call, since a call costs more than its points."""
        lengths = [len(shape.points) for shape in self.shapes]
        heights = np.repeat([shape.raised for shape in self.shapes], lengths)
        pixels = self.project(np.concatenate([shape.points for shape in self.shapes]), heights)
        draw = ImageDraw.Draw(self.image, "RGBA")
        start = 0
        for shape, length in zip(self.shapes, lengths, strict=True):
            contour, start = pixels[start : start + 2 * length], start + 2 * length
            if shape.width is None:
                draw.polygon(contour, fill=shape.color)
            else:
                draw.line(contour, fill=shape.color, width=shape.width, joint="curve")


def rgba(color: Color, opacity: float) -> tuple[int, int, int, int]:
    """Returns a color with an opacity in 0..1 as four bytes."""
    red, green, blue = (min(255, max(0, round(c))) for c in color)
    return red, green, blue, min(255, max(0, round(255 * opacity)))


def draw_head(canvas: Canvas, identity: Identity, units: ActionUnits, light: float) -> None:
    """Draws neck, ears, skin and the hair behind the face; ``light`` is -1 (from the left) to 1 (from the right)."""
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
    center = np.array([0.16 * light, 0.05])
    for step in range(6):  # nested copies, shifted toward the light, make the face look round
        share = step / 5
        canvas.fill(center * share + face * (1 - 0.42 * share**1.3), tint(skin, 0.80 + 0.24 * share))
    if i.beard:
        chin = face[:, 1].max()
        beard = face[face[:, 1] > i.mouth_height - 0.22]
        canvas.fill(beard, i.hair, i.beard)
        canvas.disc((0, (chin + i.mouth_height) / 2), (0.3, 0.2), i.hair, i.beard * 0.4)


def draw_hair(canvas: Canvas, identity: Identity) -> None:
    """Draws the hair above the face."""
    i = identity
    if i.hair_length < 0:  # short hair: a cap only
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
    """Draws eyes, brows and glasses."""
    i, pose = identity, canvas.pose
    lid = tint(i.skin, 0.62)
    for side in (-1, 1):
        eye = anatomy.eye(i, units, side, pose.gaze, pose.blink)
        canvas.disc((eye.center[0], -0.02), (i.eye_width * 1.25, i.eye_opening * 2.1), tint(i.skin, 0.86), 0.45)
        canvas.fill(eye.lids, (244, 240, 236))
        if eye.openness > 0.25 * i.eye_opening:
            canvas.fill(eye.iris, i.iris)
            canvas.fill(eye.pupil, (16, 12, 12))
            shine = (eye.center[0] + pose.gaze[0] * i.eye_width - 0.025, -0.3 * i.eye_opening)
            canvas.disc(shine, (0.016, 0.016), (255, 255, 255), 0.9)
        canvas.stroke(eye.upper, tint(lid, 0.45), 0.030)
        fold = eye.upper + [0, -0.045 - 0.02 * units["upper_lid_raiser"]]
        canvas.stroke(fold, lid, 0.014, 0.6)
        canvas.fill(anatomy.brow(i, units, side), tint(i.hair, 0.6), 0.95, raised=0.02)
        if i.glasses:
            circle = np.concatenate([anatomy.CIRCLE, anatomy.CIRCLE[:1]])
            rim = circle * (i.glasses + 0.04, i.glasses) + (eye.center[0], 0.03)
            canvas.stroke(rim, (30, 30, 36), 0.03, 0.95, raised=0.08)
            arm = np.array([[side * (i.eye_distance + i.glasses + 0.03), 0.0], [side * 1.02, -0.03]])
            canvas.stroke(arm, (30, 30, 36), 0.03, 0.95)
    if i.glasses:
        inner = i.eye_distance - i.glasses - 0.03
        canvas.stroke(np.array([[-inner, 0.02], [0, -0.03], [inner, 0.02]]), (30, 30, 36), 0.03, 0.95, raised=0.12)


def draw_mouth(canvas: Canvas, identity: Identity, mouth: anatomy.Mouth) -> None:
    """Draws lips, teeth and tongue."""
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


def draw_skin(canvas: Canvas, identity: Identity, units: ActionUnits, corners: Points) -> None:
    """Draws the nose, the folds and the cheeks."""
    shade = tint(identity.skin, 0.6)
    for side in (-1, 1):
        bulge = 0.12 + 0.35 * units["cheek_raiser"]
        canvas.disc((side * 0.56, 0.40), (0.22, 0.13), between(identity.skin, (214, 110, 96), 0.5), bulge)
    for points, strength in anatomy.wrinkles(identity, units, corners):
        canvas.stroke(points, shade, 0.022 + 0.014 * strength, min(1.0, 0.75 * strength))
    strokes, nostrils = anatomy.nose(identity, units)
    for points in strokes:
        canvas.stroke(points, shade, 0.024, 0.7, raised=0.16)
    for x, y in nostrils:
        canvas.disc((x, y), (0.040, 0.022), tint(identity.skin, 0.35), 0.9)


def draw(
    identity: Identity, units: ActionUnits, pose: Pose, light: float, background: Image.Image
) -> NDArray[np.uint8]:
    """Draws a face.

    Args:
        identity: The person.
        units: Action units.
        pose: Pose of the head.
        light: Direction of the light, -1 (from the left) to 1 (from the right).
        background: Square of ``SUPERSAMPLING`` times the side of the result, which is painted on in place.

    Returns:
        uint8 RGB ``[S, S, 3]``.
    """
    canvas = Canvas(background, pose)
    draw_head(canvas, identity, units, light)
    mouth = anatomy.mouth(identity, units)
    draw_skin(canvas, identity, units, mouth.corners)
    draw_mouth(canvas, identity, mouth)
    draw_hair(canvas, identity)
    draw_eyes(canvas, identity, units)
    canvas.paint()
    return np.asarray(canvas.image.reduce(SUPERSAMPLING))
