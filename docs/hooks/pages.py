"""What MkDocs cannot do by itself: pages from outside docs/, generated reference pages, and links between them.

The repository is read on GitHub as well as in the site. Links are therefore written as paths in the repository, and
this hook turns those that leave docs/ into links to the pages that the site makes of them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import reference  # next to this file
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that lie outside docs/, by their path in the repository, and their path in the site."""

ALONE = "---\nhide:\n  - navigation\n---\n\n"
"""For a page whose section holds no other."""

API = "reference/api"

LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills in the parts of the navigation that follow from the files there are."""
    config.nav = expand(config.nav)
    return config


def expand(entry: Any) -> Any:
    """Replaces ``folder/*.md`` by the pages of a folder, and the folder of the API by its modules."""
    if isinstance(entry, list):
        parts: list[Any] = []
        for item in entry:
            found = expand(item)
            parts.extend(found) if isinstance(item, str) and isinstance(found, list) else parts.append(found)
        return parts
    if isinstance(entry, dict):
        return {title: expand(value) for title, value in entry.items()}
    if entry == f"{API}/":
        return api_navigation()
    if entry.endswith("/*.md"):
        folder = ROOT / "docs" / entry.removesuffix("/*.md")
        pages = sorted(file.name for file in folder.glob("*.md") if file.name != "README.md")
        return [f"{entry.removesuffix('*.md')}{name}" for name in pages]
    return entry


def modules() -> list[str]:
    """Returns the dotted names of all modules of the packages, packages before what they hold."""
    found = []
    for package in reference.PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            if parts[-1] != "__main__":
                found.append(parts[:-1] if parts[-1] == "__init__" else parts)
    return [".".join(parts) for parts in sorted(found, key=lambda parts: (reference.PACKAGES.index(parts[0]), parts))]


def api_navigation() -> list[Any]:
    """Returns the modules as nested navigation; a package is a section whose first page is its own."""
    root: list[Any] = []
    sections: dict[str, list[Any]] = {"": root}
    names = modules()
    packages = {name.rpartition(".")[0] for name in names} - {""} | set(reference.PACKAGES)
    for name in names:
        parent = sections[name.rpartition(".")[0]]
        page = f"{API}/{name}.md"
        if name in packages:
            sections[name] = [page]
            parent.append({name: sections[name]})
        else:
            parent.append({name: page})
    return root


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside docs/, and a page for each module."""
    for source, target in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=f"{ALONE}{text}" if target == "index.md" else text))
    for name in modules():
        files.append(File.generated(config, f"{API}/{name}.md", content=f"# `{name}`\n\n::: {name}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fills in what is generated, and adapts the links that leave docs/."""
    site = page.file.src_uri
    source = {target: source for source, target in OUTSIDE.items()}.get(site, f"docs/{site}")
    return outside_fences(reference.fill(markdown), lambda text: LINK.sub(lambda m: adapted(m, source, site), text))


def outside_fences(markdown: str, change: Any) -> str:
    """Applies ``change`` to what is not a fenced block."""
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def adapted(link: re.Match[str], source: str, site: str) -> str:
    """Returns a link of the file ``source`` as the page ``site`` must have it."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
    if (ROOT / target).is_dir():
        target = f"{target}/README.md"
    inside = OUTSIDE.get(target) or target.removeprefix("docs/")
    if target not in OUTSIDE and not target.startswith("docs/"):
        return link[0]  # MkDocs will say that there is no such page
    return posixpath.relpath(inside, posixpath.dirname(site) or ".") + (link[2] or "")
