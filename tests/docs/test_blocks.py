"""Every command and every program in the documentation runs, on a small model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, pages, read_blocks, run_block

PAGES = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in pages()}
WITH_COMMANDS = [page for page, text in PAGES.items() if any(block.runs for block in read_blocks(page, text)[0])]


@pytest.fixture
def folder(faces: Path, run: Path, bundles: Path, tmp_path: Path) -> Path:
    """A folder with what the pages suppose: faces/, run/, bundles/, face.png and photos/."""
    shutil.copytree(faces, tmp_path / "faces")
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(bundles, tmp_path / "bundles")
    pictures = sorted((faces / "test").rglob("*.png"))
    shutil.copy(pictures[0], tmp_path / "face.png")
    (tmp_path / "photos").mkdir()
    for picture in pictures[:3]:
        shutil.copy(picture, tmp_path / "photos")
    # A bundle remembers by a relative path which run it was made of.
    origin = json.loads((bundles / "cpu" / "manifest.json").read_text())["provenance"]["run"]
    remembered = Path(tmp_path, "bundles", "cpu", origin).resolve()
    if not remembered.exists():
        remembered.parent.mkdir(parents=True)
        remembered.symlink_to(tmp_path / "run")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    assert read_blocks(page, PAGES[page])[1] == []


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_blocks_of_a_page_run_in_order(page: str, folder: Path, subtests: pytest.Subtests) -> None:
    for block in read_blocks(page, PAGES[page])[0]:
        if block.runs:
            with subtests.test(block.place):
                assert run_block(block, folder) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nx\n```", "the language ''"),
        ("```fish\nx\n```", "the language 'fish'"),
        ("Text.\n\n    arbex doctor\n", "an indented block"),
        ("```text\narbex doctor\n```", "a command in a block of text"),
        ("<!-- not run: later -->\n```shell\nx\n```", "expected is <!-- not run:"),
        ("<!-- not run: long, takes minutes -->\n\nText.", "stands before no block"),
        ("```json\n{,}\n```", "not json"),
        ("```yaml\nsteps:\n  - run: arbex veryfy bundles/cpu\n```", "no command veryfy"),
        ("```python\nfor\n```", "not python"),
        ("<!-- not run: long, takes minutes -->\n```shell\narbex trian\n```", "no command trian"),
        ("<!-- not run: long, takes minutes -->\n```shell\narbex train --data faces --epoch ten\n```", "arbex train"),
        (
            "<!-- not run: gpu, one -->\n```shell\nX=1 arbex export run --taget jetson \\\n  --out x\n```",
            "--taget",
        ),
        ("<!-- not run: long, takes minutes -->\n```console\n$ make demos\nmade\n```", "no target demos"),
        (
            "<!-- not run: long, takes minutes -->\n```shell\npython -m benchmarks.none\n```",
            "no module benchmarks.none",
        ),
        ("<!-- not run: long, takes minutes -->\n```shell\npython -m benchmarks.edge --x\n```", "no option --x"),
    ],
)
def test_what_cannot_be_trusted_is_a_problem(text: str, problem: str) -> None:
    found = read_blocks("page.md", text)[1]
    assert len(found) == 1
    assert found[0].startswith("page.md:")
    assert problem in found[0]


def test_a_mark_with_a_reason_keeps_a_block_from_running() -> None:
    (marked, plain), problems = read_blocks(
        "page.md",
        "<!-- not run: board, TensorRT compiles\non the Jetson -->\n```shell\ntrtexec\n```\n\n```shell\ntrue\n```\n",
    )
    assert problems == []
    assert (marked.reason, marked.runs) == ("board", False)
    assert (plain.place, plain.runs) == ("page.md:7", True)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("shell", "arbex inspect no-such-bundle\ntrue\n"),
        ("shell", "false | true\n"),
        ("shell", 'echo "$NO_SUCH_VARIABLE"\n'),
        ("console", "$ arbex run \\\n> no-such-bundle face.png\nface.png  happiness\n"),
        ("python", "from runtimes import no_such_name\n"),
    ],
)
def test_a_wrong_command_is_found(language: str, text: str, tmp_path: Path) -> None:
    said = run_block(Block("page.md", 4, language, text), tmp_path)
    assert said.startswith("page.md:4: exit code")


def test_what_a_console_block_shows_is_not_run(tmp_path: Path) -> None:
    assert run_block(Block("page.md", 1, "console", "$ echo one > file\nfalse\n$ cat file\none\n"), tmp_path) == ""


def test_a_python_block_may_be_a_file_for_the_next_one(tmp_path: Path) -> None:
    assert run_block(Block("page.md", 1, "python", "# shapes.py\nSIDES = 4\n"), tmp_path) == ""
    assert run_block(Block("page.md", 9, "python", "import shapes\n\nassert shapes.SIDES == 4\n"), tmp_path) == ""
