"""Conditions of a photograph: pose, background, light, occlusion, blur, sensor noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from arbex.synth.drawing import Pose


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draws a head pose that is typical of cropped faces: mostly frontal, up to about 25 degrees of yaw."""
    return Pose(
        yaw=float(np.clip(rng.normal(0, 0.16), -0.45, 0.45)),
        pitch=float(np.clip(rng.normal(0, 0.08), -0.2, 0.2)),
        roll=float(np.clip(rng.normal(0, 0.07), -0.22, 0.22)),
        scale=float(rng.uniform(0.34, 0.42)),
        shift=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.08, 0.1))),
        gaze=(float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)), float(rng.uniform(-0.25, 0.25))),
        blink=float(rng.choice([0.0, 0.3], p=[0.93, 0.07])),
    )


def background(side: int, rng: np.random.Generator) -> Image.Image:
    """Returns a background like a blurred room: a few patches of color, interpolated to ``side`` pixels."""
    base = rng.integers(50, 210) + rng.integers(-30, 31, 3)
    patches = np.clip(base + rng.integers(-35, 36, (4, 4, 1)) + rng.integers(-12, 13, (4, 4, 3)), 0, 255).astype(
        np.uint8
    )
    return Image.fromarray(patches).resize((side, side), Image.Resampling.BILINEAR)


def occlude(image: Image.Image, rng: np.random.Generator) -> None:
    """Covers part of the face in place, as a hand, a scarf or a strand of hair does."""
    side = image.width
    draw = ImageDraw.Draw(image, "RGBA")
    color = (*(int(c) for c in rng.integers(30, 200, 3)), 255)
    x, y = (int(v) for v in rng.integers(int(0.1 * side), int(0.9 * side), 2))
    reach = int(rng.uniform(0.08, 0.16) * side)
    if rng.random() < 0.5:
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)
    else:
        tilt = int(rng.integers(-reach, reach + 1))
        draw.line((x - 2 * reach, y - tilt, x + 2 * reach, y + tilt), fill=color, width=max(2, reach // 2))


def expose(image: NDArray[np.uint8], light: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Applies a light gradient, exposure, white balance, blur and sensor noise to an image ``[S, S, 3]``.

    Args:
        image: The drawn image.
        light: Direction of the light, -1 (from the left) to 1 (from the right).
        rng: Source of randomness.
    """
    side = image.shape[0]
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    strength = np.float32(rng.uniform(0.0, 0.22))
    gradient = 1 + strength * (np.float32(light) * ramp[None, :] - np.float32(rng.uniform(-0.4, 0.8)) * ramp[:, None])
    gain = np.float32(rng.uniform(0.78, 1.18)) * rng.uniform(0.94, 1.06, 3).astype(np.float32)
    lit = image * gradient[:, :, None] * gain
    if rng.random() < 0.35:
        radius = float(rng.uniform(0.4, 1.1)) * side / 128
        picture = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
        lit = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    sigma = np.float32(rng.uniform(0.5, 7.0))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * sigma
    out: NDArray[np.uint8] = np.clip(lit + noise + 0.5, 0, 255).astype(np.uint8)
    return out
