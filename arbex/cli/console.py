"""What commands share: progress, errors, tables, JSON, and the options that several of them have."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, TypeVar

import click

from arbex.progress import Reporter, Step

SECONDS_BEFORE_BAR = 1.0
SECONDS_PER_LINE = 30.0
DATA_HELP = "Data set: PATH, LAYOUT:PATH or LAYOUT,OPTION=VALUE:PATH."

Command = TypeVar("Command", bound=Callable[..., Any])


class Console(Reporter):
    """Shows progress on stderr: bars on a terminal, plain lines otherwise. Stdout is for results.

    Whatever takes long says so every half minute, so that nobody has to guess from a log whether it still runs.
    """

    def __init__(self) -> None:
        """Starts the clock, while stderr is what the user sees: later, vendors' output may be hidden."""
        self.tasks: list[Task] = []  # the innermost last
        self.pulse = Pulse(self.tasks)
        self.pulse.start()
        context = click.get_current_context(silent=True)
        if context is not None:
            context.call_on_close(self.pulse.end)

    def line(self, text: str) -> None:
        """Shows a line."""
        self.beat()
        if self.tasks and sys.stderr.isatty():
            click.echo("\r\x1b[2K", nl=False, err=True)  # in place of a bar, which follows it
        click.echo(text, err=True)

    @contextmanager
    def doing(self, label: str) -> Iterator[None]:
        """Shows a line every half minute; short work shows nothing."""
        with self.during(Task(label)):
            yield

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        """Shows a bar on a terminal, otherwise a line every half minute; short work shows nothing."""
        if sys.stderr.isatty():
            with ExitStack() as stack, self.during(Task("")):
                yield Bar(label, total, stack).step
        else:
            task = Task(label, total)
            with self.during(task):
                yield task.step

    @contextmanager
    def during(self, task: Task) -> Iterator[None]:
        """Shows the state of a task every half minute until it ends."""
        self.beat()
        self.tasks.append(task)
        try:
            yield
        finally:
            self.tasks.remove(task)
            self.beat()

    def beat(self) -> None:
        """Starts the clock anew, since something has just happened."""
        self.pulse.heard = time.monotonic()


class Task:
    """Something that takes a while, and how far it is."""

    def __init__(self, label: str, total: int = 0) -> None:
        """Starts the clock.

        Args:
            label: What is being done; nothing is said of a task without one.
            total: Number of steps, or 0 if they cannot be counted.
        """
        self.label, self.total, self.done, self.started = label, total, 0, time.monotonic()

    def step(self, done: int) -> None:
        """Takes the number of steps that are done."""
        self.done = done

    def __str__(self) -> str:
        """Returns what is being done, how much of it is done, and for how long."""
        counted = f"{self.done} of {self.total}, " if self.total else ""
        return f"{self.label}: {counted}{time.monotonic() - self.started:.0f} s"


class Pulse(Thread):
    """Says every half minute which task is going on."""

    def __init__(self, tasks: list[Task]) -> None:
        """Prepares a thread, which ends with the process at the latest.

        Args:
            tasks: The tasks that are going on, the innermost last; whoever starts and ends them changes this list.
        """
        super().__init__(daemon=True)
        self.tasks, self.heard, self.ended = tasks, time.monotonic(), Event()
        self.descriptor = own_stderr()

    def end(self) -> None:
        """Says nothing any more."""
        self.ended.set()

    def run(self) -> None:
        """Looks at the clock until the end."""
        self.watch()
        if self.descriptor is not None:
            os.close(self.descriptor)

    def watch(self) -> None:
        """Says what is going on after every half minute of silence."""
        while not self.ended.wait(SECONDS_PER_LINE / 10):
            task = next(iter(self.tasks[::-1]), None)
            if task and task.label and time.monotonic() - self.heard >= SECONDS_PER_LINE:
                self.heard = time.monotonic()
                if self.descriptor is not None:
                    with suppress(OSError):  # nobody reads it any more
                        os.write(self.descriptor, f"{task}\n".encode())


def own_stderr() -> int | None:
    """Returns a descriptor of stderr as it is now, which goes on while the output of vendors' tools is hidden."""
    try:
        return os.dup(sys.stderr.fileno())
    except (OSError, AttributeError):  # something without a descriptor took its place
        return None


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
