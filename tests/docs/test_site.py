"""The site: complete, and without anything from another host."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from arbex.cli import COMMANDS
from tests.docs.blocks import ROOT

LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:|//)|<link\b[^>]*\bhref=["']?(https?:|//)"""
)


def modules() -> list[str]:
    """Returns the dotted names of all modules that have a page."""
    files = [f for p in ("arbex", "calibration", "export", "quantize", "runtimes") for f in (ROOT / p).rglob("*.py")]
    names = [file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_nothing_is_loaded_from_another_host(rendered: dict[str, str]) -> None:
    assert len(rendered) > 50
    assert {page for page, text in rendered.items() if LOADED.search(text)} == set()
    assert LOADED.search('<link rel="stylesheet" href="https://fonts.example.org/css">')


def test_every_module_has_a_page(rendered: dict[str, str]) -> None:
    assert [name for name in modules() if f"reference/api/{name}" not in rendered] == []
    assert "Opens a bundle after checking" in rendered["reference/api/runtimes.bundle"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_shown_with_the_help_they_print(command: str, rendered: dict[str, str]) -> None:
    binary = Path(sys.executable).parent / "arbex"
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([binary, command, "--help"], env=environment, text=True, capture_output=True, check=True)
    shown = html.unescape(re.sub(r"<[^>]+>", "", rendered["reference/commands"]))
    assert done.stdout.strip() in shown


def test_generated_tables_are_filled_in(rendered: dict[str, str]) -> None:
    assert not [page for page, text in rendered.items() if "generated:" in text]
    settings = rendered["reference/settings"]
    assert "<code>lambda_parts</code>" in settings
    assert "<code>relabel_margin</code>" in settings


def test_the_readme_is_the_home_page_and_its_links_lead_into_the_site(rendered: dict[str, str]) -> None:
    home = rendered["index"]
    assert "reliability balancing" in home
    assert 'href="docs/' not in home
    assert 'href="decisions/README.html"' in home or 'href="decisions/index.html"' in home
