"""The code blocks of the documentation: found, checked, and run as a reader would run them.

``python -m tests.docs.blocks`` prints how many blocks run and why the others do not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import yaml
from markdown_it import MarkdownIt

from arbex.cli import COMMANDS, root

ROOT = Path(__file__).resolve().parents[2]
RUN = ("shell", "python", "console")
SHOWN = ("text", "json", "yaml", "toml", "swift", "kotlin")
"""Languages of blocks that are read only; JSON and YAML among them must parse."""

REASONS = ("long", "gpu", "board", "data")
MARK = re.compile(rf"<!-- not run: ({'|'.join(REASONS)}), (\S.*?) -->\s*", re.DOTALL)
NEEDS_A_MARK = re.compile(r"^(\$ )?(arbex(-export)?|make|pip|python3?|torchrun) ", re.MULTILINE)
COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
FILE_NAME = re.compile(r"# (\w+\.py)\n")
"""The first line of a Python block that is a file which later blocks need."""

SECONDS = 300


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Path of its page in the repository.
        line: Of its fence, counted from 1.
        language: As the fence says.
        text: What is inside.
        reason: Why it is not run, one of ``REASONS``; empty where it is.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in RUN and not self.reason


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_blocks(page: str, text: str) -> tuple[list[Block], list[str]]:
    """Returns the blocks of a page, and what is wrong with them."""
    blocks, problems, reason = [], [], ""
    for token in MarkdownIt("commonmark").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            problems.append(f"{page}:{line}: an indented block; use a fence with a language")
        elif token.type == "html_block" and "not run:" in token.content:
            mark = MARK.fullmatch(token.content)
            reason = mark[1] if mark else ""
            if not mark:
                problems.append(f"{page}:{line}: expected is <!-- not run: {'|'.join(REASONS)}, REASON -->")
        elif token.type == "fence":
            block = Block(page, line, token.info.strip(), token.content, reason)
            blocks.append(block)
            problems += problems_of(block)
            reason = ""
        elif token.type != "html_block" and reason:
            problems.append(f"{page}:{line}: the mark above it stands before no block")
            reason = ""
    return blocks, problems


def problems_of(block: Block) -> list[str]:
    """Returns what is wrong with a block, as far as can be told without running it."""
    found = []
    if block.language not in RUN + SHOWN:
        found.append(f"the language {block.language!r} is not among {', '.join(RUN + SHOWN)}")
    elif block.language in SHOWN and NEEDS_A_MARK.search(block.text):
        found.append(f"a command in a block of {block.language}, which nothing checks")
    try:
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "python":
            compile(block.text, block.place, "exec")
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        found.append(f"not {block.language}: {error}")
    if block.language in ("shell", "console", "yaml"):
        for line in commands(block):
            found += [f"{shlex.join(line)}: {problem}" for problem in problems_of_command(line)]
    return [f"{block.place}: {problem}" for problem in found]


def script(block: Block) -> str:
    """Returns what a block runs: of a console block without the output, of a CI job in YAML what stands after run."""
    if block.language == "shell":
        return block.text
    if block.language == "yaml":
        return "\n".join(re.findall(r"^[ -]*run: (.*)$", block.text, re.MULTILINE)) + "\n"
    lines = [line[2:] for line in block.text.splitlines() if line.startswith(("$ ", "> "))]
    return "\n".join(lines) + "\n"


def commands(block: Block) -> Iterator[list[str]]:
    """Yields the commands of a shell or console block as words."""
    lines = COMMENT.sub("", script(block).replace("\\\n", " "))
    lexer = shlex.shlex(lines, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("();<>|&\n"):
            yield from [words] if words else []
            words = []
        else:
            words.append(word)
    yield from [words] if words else []


def problems_of_command(words: list[str]) -> Iterator[str]:
    """Yields what is wrong with the arguments of a command of this project."""
    while words and re.fullmatch(r"\w+=.*", words[0]):  # variables in front of it
        words = words[1:]
    if "-m" in words and words[0].rpartition("/")[2] in ("python", "python3", "torchrun"):
        words = words[words.index("-m") + 1 :]
        if find_spec(words[0]) is None:
            yield f"there is no module {words[0]}"
        elif words[0].startswith("benchmarks."):
            source = (ROOT / (words[0].replace(".", "/") + ".py")).read_text()
            yield from (f"no option {w}" for w in words[1:] if w.startswith("--") and f'"{w}"' not in source)
    program = words[0].rpartition("/")[2] if words else ""
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        yield from (f"no target {word}" for word in words[1:] if word not in targets)
    if program == "arbex-export":
        words = ["arbex", "export", *words[1:]]
    if program in ("arbex", "arbex-export"):
        yield from problems_of_arguments(words[1:])


def problems_of_arguments(arguments: list[str]) -> Iterator[str]:
    """Yields what the command line of arbex would refuse before it does anything."""
    top = click.Context(root, info_name="arbex")
    if arguments[0] not in COMMANDS:
        if arguments[0] not in ("--help", "--version"):
            yield f"no command {arguments[0]}"
        return
    command = root.get_command(top, arguments[0])
    assert command is not None
    try:
        command.make_context(arguments[0], [a for a in arguments[1:] if a not in ("--debug", "--help")], parent=top)
    except click.UsageError as error:
        if "--help" not in arguments:
            yield error.format_message()


def run_block(block: Block, folder: Path) -> str:
    """Runs a block in a folder; returns what went wrong, or an empty string."""
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", script(block)]
    if block.language == "python":
        name = FILE_NAME.match(block.text)
        file = folder / (name[1] if name else f"block_{block.line}.py")
        file.write_text(block.text, encoding="utf-8")
        command = [sys.executable, file.name]
    binaries = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([binaries, os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "ARBEX_CACHE": str(folder / ".cache"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=SECONDS, check=False
    )
    if done.returncode == 0 or is_undecided(done.stdout):
        return ""
    said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return f"{block.place}: exit code {done.returncode}\n{block.text}\n{said}"


def is_undecided(output: str) -> bool:
    """Tells whether a verification only found that these small data sets have too few images to decide."""
    return " undecided " in output and "does not decide about" in output and "FAILED" not in output


def main() -> None:
    """Prints how many blocks there are of each kind."""
    counts: Counter[str] = Counter()
    for page in pages():
        for block in read_blocks(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))[0]:
            counts["run" if block.runs else block.reason or "read only"] += 1
    for kind, count in counts.most_common():
        print(f"{count:4} {kind}")


if __name__ == "__main__":
    main()
