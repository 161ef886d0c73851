"""What the miniature trees of public data sets are made of."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from arbex.data.samples import FaceSet


def image(path: Path, gray: int = 128, side: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (gray, gray, gray)).save(path)


def names(faces: FaceSet) -> list[str]:
    return [faces.labels[s.label] for s in faces.samples]
