"""The layout ``ferg``: FERG-DB (Aneja et al. 2016), six drawn characters: ``aia/aia_anger/aia_anger_1.png``."""

from __future__ import annotations

import re

from arbex.data.layouts.people import NamedFaces


class Ferg(NamedFaces):
    """55,767 images. The groups are the characters."""

    name = "ferg"
    example = "aia/aia_anger/aia_anger_1.png"
    pattern = re.compile(
        r"(?P<person>[a-z]+)_(?P<code>anger|disgust|fear|joy|neutral|sadness|surprise)_\d+\.png", re.IGNORECASE
    )
    codes = {
        "anger": "anger",
        "disgust": "disgust",
        "fear": "fear",
        "joy": "happiness",
        "neutral": "neutral",
        "sadness": "sadness",
        "surprise": "surprise",
    }
