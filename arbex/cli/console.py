"""What commands share: progress, errors, tables, JSON, and the options that several of them have."""

from __future__ import annotations

import json
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from arbex.progress import Reporter, Step

SECONDS_BEFORE_BAR = 1.0
SECONDS_PER_LINE = 30.0
DATA_HELP = "Data set: PATH, LAYOUT:PATH or LAYOUT,OPTION=VALUE:PATH."

Command = TypeVar("Command", bound=Callable[..., Any])


class Console(Reporter):
    """Shows progress on stderr: bars on a terminal, plain lines otherwise. Stdout is for results."""

    def line(self, text: str) -> None:
        """Shows a line."""
        click.echo(text, err=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        """Shows a bar on a terminal, otherwise a line every half minute; short work shows nothing."""
        if not sys.stderr.isatty():
            yield Lines(label, total).step
            return
        with ExitStack() as stack:
            yield Bar(label, total, stack).step


class Bar:
    """Progress as a bar, which appears when the work has taken a second."""

    def __init__(self, label: str, total: int, stack: ExitStack) -> None:
        """Starts the clock.

        Args:
            label: What is being done.
            total: Number of steps.
            stack: Ends the bar when the work ends.
        """
        self.label, self.total, self.stack, self.started = label, total, stack, time.monotonic()
        self.bar: Any = None

    def step(self, done: int) -> None:
        """Shows how much is done, unless the work is short."""
        if self.bar is None:
            if time.monotonic() - self.started < SECONDS_BEFORE_BAR:
                return
            shown = click.progressbar(length=self.total, label=f"{self.label:<28}", file=sys.stderr)
            self.bar = self.stack.enter_context(shown)
        self.bar.update(done - self.bar.pos)


class Lines:
    """Progress as plain lines for logs; short work shows none."""

    def __init__(self, label: str, total: int) -> None:
        """Starts the clock."""
        self.label, self.total, self.shown = label, total, time.monotonic()

    def step(self, done: int) -> None:
        """Shows how much is done, unless a line was shown recently."""
        if time.monotonic() - self.shown >= SECONDS_PER_LINE:
            self.shown = time.monotonic()
            click.echo(f"{self.label}: {done} of {self.total}", err=True)


def fail(message: str, code: int, *, debug: bool = False) -> int:
    """Shows an error as one paragraph, after its traceback with ``debug``, and returns its exit code."""
    if debug:
        traceback.print_exc()
    paragraph = " ".join(message.split())
    width = 100 if sys.stderr.isatty() else 10_000  # logs keep it on one line
    click.echo(textwrap.fill(f"Error: {paragraph}", width, break_long_words=False, break_on_hyphens=False), err=True)
    return code


@dataclass
class Invocation:
    """What the entry point needs to know about a command line that click has parsed.

    Attributes:
        debug: Whether errors are shown with their traceback.
    """

    debug: bool = False


def start_debugging(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Records ``--debug`` for the entry point, and shows vendors' output until the command ends."""
    if wanted:
        from runtimes.vendor_output import visible_output

        context.ensure_object(Invocation).debug = True
        context.with_resource(visible_output())


def debug_option(command: Command) -> Command:
    """Adds ``--debug``."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,  # before other options can fail
        expose_value=False,
        callback=start_debugging,
        help="Show tracebacks and the output of vendors' tools.",
    )(command)


def backbone_option(command: Command) -> Command:
    """Adds ``--backbone``, with which the user allows the code that a run names to be executed."""
    text = "Callable that builds the run's custom backbone, if it has one."
    return click.option("--backbone", metavar="MODULE:CALLABLE", help=text)(command)


def json_option(command: Command) -> Command:
    """Adds ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")(command)


def print_json(value: Any) -> None:
    """Prints a value as one JSON document; NaN and infinity become null."""
    click.echo(json.dumps(finite(value), indent=2))


def finite(value: Any) -> Any:
    """Returns a value with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints aligned columns; a column of numbers is aligned to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [all(c[:1].isdigit() or c[:1] in "-+" for c in column[1:] if c) for column in columns]
    for i, row in enumerate([header, *rows]):
        cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        click.echo("  ".join(cells).rstrip())
        if i == 0:
            click.echo("  ".join("-" * w for w in widths))


def size(count: int) -> str:
    """Formats a number of bytes."""
    return f"{count / 1e6:.2f} MB" if count >= 10_000 else f"{count} B"
