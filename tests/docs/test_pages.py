"""What a page says exists: links, anchors on GitHub, modules, files, and the keys of JSON."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbex.cli import invoke
from tests.docs.blocks import ROOT, pages

PAGES = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
PAGES["CHANGELOG.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`((?:arbex|benchmarks|calibration|export|quantize|runtimes|tests)/[\w/.]+)`")
NAME = re.compile(r"`((?:arbex|benchmarks|calibration|export|quantize|runtimes)(?:\.\w+)+)(?:\([^`]*)?`")


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub(lambda m: m[0].strip("`") if m[0][:3] != "```" else "", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: str, text: str) -> Iterator[str]:
    for link in LINK.findall(CODE.sub("", text)):
        if link.startswith(("https:", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if not target.exists() or anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield link


def defines(file: Path, name: str) -> bool:
    """Tells whether a module binds a name at its top level, or offers it in ``__all__``."""
    bound: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            bound |= names | (set(ast.literal_eval(node.value)) if "__all__" in names else set())
        elif hasattr(node, "name"):
            bound.add(node.name)
    return name in bound


def exists(dotted: str) -> bool:
    """Tells whether there is such a module, or such a name in a module."""
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    parent = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return parent.is_file() and defines(parent, path.name)


@pytest.mark.parametrize("page", PAGES)
def test_links_work_on_github(page: str) -> None:
    assert list(dead_links(page, PAGES[page])) == []


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_exist(page: str) -> None:
    assert [file for file in FILE.findall(PAGES[page]) if not (ROOT / file).exists()] == []
    assert [name for name in NAME.findall(PAGES[page]) if not exists(name)] == []


def test_what_does_not_exist_is_found() -> None:
    assert FILE.findall("in `runtimes/none.py`") == ["runtimes/none.py"]
    assert NAME.findall("`export.none(run)` and `runtimes.none`") == ["export.none", "runtimes.none"]
    assert list(
        dead_links("docs/data.md", "[a](weights.md#no-code-in-a-file-is-run) [b](none.md) [c](weights.md#x)")
    ) == [
        "none.md",
        "weights.md#x",
    ]
    assert exists("runtimes.open_bundle")
    assert exists("export.trace")
    assert exists("arbex.verify")
    assert not exists("export.no_such_module")
    assert not exists("runtimes.no_such_name")


def keys(value: object) -> Iterator[str]:
    """Yields the keys of JSON objects but those that are names of classes, tensors, files or tools."""
    if isinstance(value, list):
        for item in value:
            yield from keys(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key not in ("corrected", "primary", "per_class", "sizes", "files", "tools", "content", "cost"):
                yield from keys(item)


@pytest.mark.parametrize(
    "command",
    [
        "run {bundles}/android {faces}/test/anger --json",
        "verify {bundles}/android --json",
        "bench {bundles}/android --json",
        "inspect {bundles}/android --json",
    ],
)
def test_the_reference_names_every_key(
    command: str, bundles: Path, faces: Path, capfd: pytest.CaptureFixture[str], rendered: dict[str, str]
) -> None:
    assert invoke(command.format(bundles=bundles, faces=faces).split(), "arbex") == 0
    text = rendered["reference/json"] + rendered["reference/bundle"]
    found = set(keys(json.loads(capfd.readouterr().out)))
    assert len(found) > 5
    assert [key for key in sorted(found) if f"<code>{key}</code>" not in text] == []
