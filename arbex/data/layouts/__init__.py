"""Layouts of data sets on disk. A layout is one file with one class."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from arbex.checks import check_name
from arbex.data.layouts.base import Layout
from arbex.errors import DataError
from arbex.images import check_readable
from arbex.registry import load

LAYOUTS = {
    "folder": "arbex.data.layouts.folder:Folder",
    "rafdb": "arbex.data.layouts.rafdb:RafDb",
    "fer2013": "arbex.data.layouts.fer2013:Fer2013",
    "ferplus": "arbex.data.layouts.ferplus:FerPlus",
    "affectnet": "arbex.data.layouts.affectnet:AffectNet",
    "affwild2": "arbex.data.layouts.affwild2:AffWild2",
    "ckplus": "arbex.data.layouts.ckplus:CkPlus",
    "jaffe": "arbex.data.layouts.jaffe:Jaffe",
    "ferg": "arbex.data.layouts.ferg:Ferg",
}
"""``module:class`` of each layout by its name on the command line."""


class DataSource(NamedTuple):
    """Location and layout of a data set.

    Attributes:
        layout: Name of the layout.
        options: Options of the layout by name.
        path: Folder of the data set.
    """

    layout: str
    options: dict[str, str]
    path: Path

    def absolute(self) -> DataSource:
        """Returns the same data set by its absolute path."""
        return self._replace(path=self.path.resolve())

    def __str__(self) -> str:
        """Returns the text that ``parse_source`` reads."""
        head = ",".join([self.layout, *(f"{name}={value}" for name, value in self.options.items())])
        return str(self.path) if head == "folder" else f"{head}:{self.path}"


def parse_source(data: str) -> DataSource:
    """Reads ``PATH``, ``LAYOUT:PATH`` or ``LAYOUT,OPTION=VALUE:PATH``; the layout of a path alone is ``folder``.

    Raises:
        UnsupportedError: If the layout is not known.
        DataError: If an option has no value, or the path is empty.
    """
    head, colon, rest = data.partition(":")
    if not data or (colon and not rest and not Path(data).exists()):
        raise DataError(
            f"The data {data!r} names no folder.",
            allowed="Allowed: PATH, LAYOUT:PATH or LAYOUT,OPTION=VALUE:PATH.",
            remedy="Give a path; the working folder is '.'.",
        )
    if not colon or Path(data).exists():
        return DataSource("folder", {}, Path(data))
    name, *texts = head.split(",")
    check_name("layout", name, LAYOUTS)
    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise DataError(f"The option {text!r} of {data!r} has no value.", allowed="Allowed: name=value.")
        options[key.strip()] = value.strip()
    return DataSource(name, options, Path(rest))


def open_layout(data: str) -> Layout:
    """Returns the layout of a data set, which is given as ``PATH``, ``LAYOUT:PATH`` or ``LAYOUT,OPTION=VALUE:PATH``.

    Raises:
        UnsupportedError: If the layout, an option or its value is not known.
        DataError: If an option has no value, or the folder does not exist or cannot be read.
    """
    name, options, root = parse_source(data)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"The data folder {root} {what}.",
            remedy="Give a folder with the images in <split>/<class>/, or draw one with: arbex synth faces.",
        )
    check_readable(root)
    found: type[Layout] = load("layout", name, LAYOUTS)
    return found(root, options)
