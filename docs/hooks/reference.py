"""Reference text that is made of the program itself: help of commands, settings of a training, fields of records.

Their place in a page is ``<!-- generated: NAME -->`` or ``<!-- generated: attributes CLASS but NAMES -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe
from docstrings import readable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from arbex.cli import COMMANDS, root  # noqa: E402
from arbex.methods import METHODS  # noqa: E402

MARK = re.compile(r"^<!-- generated: (\w+)(?: (\w+))?(?: but ([\w ]+))? -->$", re.MULTILINE)
PACKAGES = ("arbex", "calibration", "quantize", "export", "runtimes")
WIDTH = 78
"""Columns of the help, as click fills them on a terminal of 80."""


def fill(markdown: str) -> str:
    """Puts the generated texts in the place of their marks."""
    return MARK.sub(lambda mark: TEXTS[mark[1]](*(group for group in mark.groups()[1:] if group)), markdown)


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


@cache
def classes() -> dict[str, griffe.Class]:
    """Returns the classes of all packages by name, wherever they are defined."""
    waiting: list[Any] = [griffe.load(package, search_paths=[str(ROOT)]) for package in PACKAGES]
    found: dict[str, griffe.Class] = {}
    while waiting:
        for member in waiting.pop().members.values():
            if member.is_alias:
                continue
            if member.is_class:
                found.setdefault(member.name, member)
            elif member.is_module:
                waiting.append(member)
    return found


def described(name: str) -> dict[str, str]:
    """Returns the descriptions in the ``Attributes`` section of a class by attribute."""
    docstring = classes()[name].docstring
    sections = docstring.parse("google", warnings=False) if docstring else []
    return {
        attribute.name: readable(" ".join(attribute.description.split()))
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
    """Returns the settings of a training with their defaults, and the presets that have others."""
    module = import_module(classes()["TrainSettings"].module.path)
    ranges = {name: f"{low:g} to {high:g}" for name, low, high in module.RANGES}
    texts = described("TrainSettings")
    rows = []
    for field in fields(module.TrainSettings):
        choices = ", ".join(as_code(choice) for choice in module.CHOICES.get(field.name, ()))
        if isinstance(field.default, bool):
            choices = "`true`, `false`"
        others: dict[str, list[str]] = {}
        for name, preset in module.PRESET_SETTINGS.items():
            if (value := getattr(preset, field.name)) != field.default:
                others.setdefault(as_code(value), []).append(name)
        own = "; ".join(f"{value} ({', '.join(names)})" for value, names in others.items())
        rows.append([f"`{field.name}`", texts[field.name], choices or ranges[field.name], as_code(field.default), own])
    return table(["setting", "meaning", "allowed", "default", "preset's own"], rows)


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


def attributes(name: str, left_out: str = "") -> str:
    """Returns the attributes of a class, which are the keys of the JSON object that is made of it."""
    keys = {key: meaning for key, meaning in described(name).items() if key not in left_out.split()}
    return table(["key", "meaning"], [[f"`{key}`", meaning] for key, meaning in keys.items()])


TEXTS: dict[str, Callable[..., str]] = {
    "commands": commands,
    "settings": settings,
    "options": options,
    "attributes": attributes,
}
