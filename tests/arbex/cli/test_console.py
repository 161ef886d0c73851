"""Progress on a terminal and in logs."""

from __future__ import annotations

import os
import pty
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


def test_a_log_shows_lines_without_control_characters(capfd: pytest.CaptureFixture[str]) -> None:
    often = "import arbex.cli.console\narbex.cli.console.SECONDS_PER_LINE = 0.25\n"
    code = often + CODE.format(seconds=0.15)
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr().err == "images: 2 of 4\nimages: 4 of 4\n"
