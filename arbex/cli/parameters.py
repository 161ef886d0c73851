"""Types of parameters that name files: they refuse an empty argument.

``Path("")`` is the working folder. An empty argument is a mistake, such as an unset variable in a script, and must not
make a command read or write where it was called.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

if TYPE_CHECKING:  # neither is generic in earlier versions of click
    PathType: TypeAlias = click.Path[Path]
    TextType: TypeAlias = click.ParamType[str]
else:
    PathType, TextType = click.Path, click.ParamType

EMPTY = "The path is empty. Give a path; the working folder is '.'."


class NamedPath(PathType):
    """A path, which need not exist. Use ``PATH`` instead of click's own type."""

    def __init__(self) -> None:
        """Converts values to ``pathlib.Path``."""
        super().__init__(path_type=Path)

    def convert(self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Returns the path, and refuses an empty one."""
        if value == "":
            self.fail(EMPTY, param, ctx)
        return super().convert(value, param, ctx)


class Source(TextType):
    """Text that holds more than a path, such as ``LAYOUT:PATH``, or that is passed on unchanged."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the text, and refuses an empty one."""
        if value == "":
            self.fail(EMPTY, param, ctx)
        return value


class ListingOption(click.Option):
    """An option whose help lists registered names, which are looked up only when the help is shown."""

    def __init__(self, *arguments: Any, listing: Callable[[], str], **others: Any) -> None:
        """Takes a function that returns the help, in addition to the arguments of every option."""
        super().__init__(*arguments, **others)
        self.listing = listing

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Returns the option with its help."""
        self.help = self.listing()
        return super().get_help_record(ctx)


PATH = NamedPath()
SOURCE = Source()
