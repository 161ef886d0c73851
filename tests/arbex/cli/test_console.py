"""Progress on a terminal and in logs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

CODE = """
import time
from arbex.cli.console import Console
with Console().bar("images", 4) as step:
    for done in range(1, 5):
        time.sleep({seconds})
        step(done)
print("done")
"""


def shown_on_a_terminal(seconds: float) -> str:
    """Returns what a terminal shows of four steps that take so many seconds each."""
    terminal, stderr = pty.openpty()
    subprocess.run([sys.executable, "-c", CODE.format(seconds=seconds)], stderr=stderr, check=True)
    os.close(stderr)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that nobody can write to the terminal any more
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return shown.decode()


def test_a_bar_shows_work_that_takes_longer_than_a_second() -> None:
    shown = shown_on_a_terminal(0.4)
    assert "images" in shown
    assert "100%" in shown


def test_a_bar_does_not_show_short_work() -> None:
    assert shown_on_a_terminal(0.0) == ""


OFTEN = "import arbex.cli.console\narbex.cli.console.SECONDS_PER_LINE = 0.4\n"


def test_a_log_shows_lines_without_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", OFTEN + CODE.format(seconds=0.3)], check=True)
    lines = capfd.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert all(re.fullmatch(r"images: [0-4] of 4, \d s", line) for line in lines)


WITHOUT_STEPS = """
import time
from arbex.cli.console import Console
from runtimes.vendor_output import hidden_output
console = Console()
with hidden_output(), console.doing("making model.onnx"):
    time.sleep(1)
    print("something from a vendor")
console.line("one line")
time.sleep(1)
"""


def test_work_without_steps_says_that_it_goes_on_though_output_is_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", OFTEN + WITHOUT_STEPS], check=True)
    shown = capfd.readouterr()
    *others, last = shown.err.splitlines()
    assert last == "one line"
    assert 1 <= len(others) <= 3
    assert all(re.fullmatch(r"making model.onnx: \d s", line) for line in others)
    assert shown.out == ""


COMMAND = """
import threading, time
import click
from arbex.cli.console import Console
@click.command()
def command():
    with Console().doing("something"):
        time.sleep(0.1)
command(standalone_mode=False)
time.sleep(0.3)
print(threading.active_count())
"""


def test_nothing_is_said_after_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", OFTEN + COMMAND], check=True)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("1\n", "")
