"""Identity of a face, the same in all images of a person: proportions, skin, hair, glasses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]

SKINS: tuple[Color, ...] = (
    (246, 214, 190),
    (236, 192, 160),
    (224, 172, 132),
    (198, 140, 100),
    (156, 104, 72),
    (112, 72, 50),
    (82, 54, 40),
)
HAIRS: tuple[Color, ...] = (
    (28, 22, 20),
    (58, 40, 28),
    (104, 70, 40),
    (172, 128, 70),
    (214, 184, 128),
    (150, 62, 32),
    (150, 150, 150),
)
HAIR_NAMES = ("black", "dark brown", "brown", "dark blond", "blond", "red", "gray")
TONES = ("light", "medium", "dark")
IRISES: tuple[Color, ...] = ((70, 44, 24), (92, 64, 34), (70, 98, 70), (84, 120, 156), (110, 116, 112))


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Proportions in units of half the face's width, colors as RGB in 0..255."""

    face_height: float
    jaw_width: float
    chin_width: float
    eye_distance: float
    eye_width: float
    eye_opening: float
    eye_slant: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    upper_lip: float
    lower_lip: float
    mouth_rest: float
    skin: Color
    lips: Color
    hair: Color
    iris: Color
    hairline: float
    hair_length: float
    fringe: float
    ears: float
    glasses: float
    beard: float

    @property
    def skin_tone(self) -> str:
        """``light``, ``medium`` or ``dark``: the third of the tones in which the brightness of the skin lies."""
        steps = [brightness(SKINS[len(SKINS) // 3]), brightness(SKINS[2 * len(SKINS) // 3])]
        return TONES[sum(brightness(self.skin) < step for step in steps)]

    @property
    def hair_color(self) -> str:
        """Name of the color that is closest to that of the hair."""
        return min(HAIR_NAMES, key=lambda name: distance(self.hair, HAIRS[HAIR_NAMES.index(name)]))


def brightness(color: Color) -> float:
    """Returns the luma of a color (Rec. 601), 0..255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def distance(a: Color, b: Color) -> float:
    """Returns the squared distance of two colors."""
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def tint(color: Color, factor: float) -> Color:
    """Scales a color's brightness and clips it to 0..255."""
    red, green, blue = (min(255.0, max(0.0, c * factor)) for c in color)
    return red, green, blue


def between(a: Color, b: Color, share: float) -> Color:
    """Returns the color at ``share`` of the way from ``a`` to ``b``."""
    red, green, blue = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return red, green, blue


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draws a person."""
    skin_at = rng.uniform(0, len(SKINS) - 1)
    skin = between(SKINS[int(skin_at)], SKINS[min(int(skin_at) + 1, len(SKINS) - 1)], skin_at % 1)
    skin = tint(skin, rng.uniform(0.94, 1.05))
    lips = between(skin, (176, 60, 66), rng.uniform(0.3, 0.6))
    u = rng.uniform
    return Identity(
        face_height=u(1.22, 1.42),
        jaw_width=u(0.74, 0.92),
        chin_width=u(0.30, 0.48),
        eye_distance=u(0.40, 0.48),
        eye_width=u(0.19, 0.24),
        eye_opening=u(0.075, 0.105),
        eye_slant=u(-0.03, 0.03),
        brow_height=u(0.20, 0.27),
        brow_thickness=u(0.035, 0.075),
        brow_arch=u(0.02, 0.07),
        nose_length=u(0.44, 0.56),
        nose_width=u(0.15, 0.22),
        mouth_width=u(0.30, 0.38),
        mouth_height=u(0.74, 0.82),
        upper_lip=u(0.040, 0.075),
        lower_lip=u(0.060, 0.100),
        mouth_rest=u(-0.015, 0.015),
        skin=skin,
        lips=lips,
        hair=tint(HAIRS[int(rng.integers(len(HAIRS)))], u(0.85, 1.1)),
        iris=IRISES[int(rng.integers(len(IRISES)))],
        hairline=u(0.62, 0.82),
        hair_length=float(rng.choice([-0.2, 0.1, 0.5, 1.1], p=[0.35, 0.25, 0.2, 0.2])),
        fringe=float(rng.choice([0.0, u(0.05, 0.16)], p=[0.7, 0.3])),
        ears=u(0.6, 1.0),
        glasses=float(rng.choice([0.0, u(0.22, 0.27)], p=[0.8, 0.2])),
        beard=float(rng.choice([0.0, u(0.15, 0.45)], p=[0.82, 0.18])),
    )
