"""A contact sheet: an overview of a data set in one image."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

COLUMNS, CELL, MARGIN = 10, 96, 92
"""Number of images per class; side of an image and width of the class names, in pixels."""


def write_contact_sheet(root: Path, classes: tuple[str, ...], path: Path) -> None:
    """Writes a PNG with one row of training images per class.

    Args:
        root: Folder of the data set, ``<split>/<class>/<image>``.
        classes: Class names in order.
        path: File to write.
    """
    sheet = Image.new("RGB", (MARGIN + COLUMNS * CELL, len(classes) * CELL), "white")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(classes):
        draw.text((8, row * CELL + CELL // 2 - 6), name, fill="black")
        files = sorted((root / "train" / name).glob("*.png"))
        for column, file in enumerate(files[:: max(1, len(files) // COLUMNS)][:COLUMNS]):
            with Image.open(file) as image:
                cell = image.resize((CELL, CELL), Image.Resampling.BILINEAR)
            sheet.paste(cell, (MARGIN + column * CELL, row * CELL))
    sheet.save(path)
