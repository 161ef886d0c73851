"""The layout ``jaffe``: JAFFE (Lyons, Kamachi, Gyoba 1998); ``KA.AN1.39.tiff`` is person KA, angry."""

from __future__ import annotations

import re

from arbex.data.layouts.people import NamedFaces


class Jaffe(NamedFaces):
    """213 images of ten people, with the labels in the file names."""

    name = "jaffe"
    example = "KA.AN1.39.tiff"
    pattern = re.compile(r"(?P<person>[A-Z]{2})\.(?P<code>AN|DI|FE|HA|NE|SA|SU)\d*\.\d+\s*\.tiff?", re.IGNORECASE)
    codes = {
        "an": "anger",
        "di": "disgust",
        "fe": "fear",
        "ha": "happiness",
        "ne": "neutral",
        "sa": "sadness",
        "su": "surprise",
    }
