"""Reference text that is made of the program itself: what commands print as help, and the settings of a training.

A page holds ``<!-- generated: NAME -->`` where such a text belongs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from arbex.cli import COMMANDS, root  # noqa: E402
from arbex.methods import METHODS  # noqa: E402

MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
WIDTH = 80
"""Columns of the help, as a terminal that tells no width has them."""


def fill(markdown: str) -> str:
    """Puts the generated texts in the place of their marks."""
    return MARK.sub(lambda mark: TEXTS[mark[1]](), markdown)


def helps() -> Iterator[tuple[str, str]]:
    """Yields each command line and the help it prints, the program itself first."""
    settings: dict[str, Any] = {"terminal_width": WIDTH, "max_content_width": WIDTH, **root.context_settings}
    top = click.Context(root, info_name="arbex", **settings)
    yield "arbex", root.get_help(top)
    for name in COMMANDS:
        command = root.get_command(top, name)
        if command is not None:
            yield f"arbex {name}", command.get_help(click.Context(command, info_name=name, parent=top))


def commands() -> str:
    """Returns the help of every command as Markdown."""
    return "\n\n".join(f"## `{line}`\n\n```text\n{text}\n```" for line, text in helps())


def find_class(name: str) -> griffe.Class:
    """Returns a class of the package arbex wherever it is defined."""
    package = griffe.load("arbex", search_paths=[str(ROOT)], docstring_parser="google")
    waiting: list[Any] = [package]
    while waiting:
        scope = waiting.pop()
        for member in scope.members.values():
            if member.is_alias:
                continue
            if member.is_class and member.name == name:
                return member
            if member.is_module:
                waiting.append(member)
    raise LookupError(f"no class {name} in arbex")


def described(name: str) -> dict[str, str]:
    """Returns the descriptions in the ``Attributes`` section of a class by attribute."""
    docstring = find_class(name).docstring
    sections = docstring.parse("google", warnings=False) if docstring else []
    return {
        attribute.name: " ".join(attribute.description.split())
        for section in sections
        if section.kind is griffe.DocstringSectionKind.attributes
        for attribute in section.value
    }


def as_code(value: Any) -> str:
    """Returns a value as ``--set`` takes it, marked as code."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def settings() -> str:
    """Returns the settings of a training with the value that each preset gives them."""
    module = import_module(find_class("TrainSettings").module.path)
    presets, ranges = module.PRESET_SETTINGS, {name: (low, high) for name, low, high in module.RANGES}
    texts = described("TrainSettings")
    rows = []
    for field in fields(module.TrainSettings):
        allowed = ""
        if field.name in module.CHOICES:
            allowed = ", ".join(as_code(choice) for choice in module.CHOICES[field.name])
        elif field.name in ranges:
            allowed = "{:g} to {:g}".format(*ranges[field.name])
        values = [as_code(getattr(preset, field.name)) for preset in presets.values()]
        rows.append([f"`{field.name}`", texts.get(field.name, ""), allowed, *values])
    return table(["setting", "meaning", "allowed", *(f"`{name}`" for name in presets)], rows)


def options() -> str:
    """Returns the options of every method."""
    rows = []
    for method, place in METHODS.items():
        module, _, name = place.partition(":")
        options_type = getattr(import_module(module), name).options_type
        texts = described(options_type.__name__) if fields(options_type) else {}
        for field in fields(options_type):
            rows.append([f"`{method}`", f"`{field.name}`", texts.get(field.name, ""), as_code(field.default)])
    return table(["method", "option", "meaning", "default"], rows)


TEXTS = {"commands": commands, "settings": settings, "options": options}
