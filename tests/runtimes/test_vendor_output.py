"""What vendors' packages print is hidden, and shown with ``--debug``."""

from __future__ import annotations

import subprocess
import sys

CHATTER = """
import os, warnings
from runtimes.vendor_output import hidden_output, visible_output

def chatter():
    os.write(1, b"native banner;")
    os.write(2, b"native warning;")
    print("python banner;")
    warnings.warn("python warning;")
"""


def output_of(code: str) -> tuple[str, str]:
    """Returns what the code writes to stdout and stderr in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CHATTER + code], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_nothing_of_it_appears() -> None:
    code = "with hidden_output():\n    chatter()\nprint('ours')"
    assert output_of(code) == ("ours\n", "")


def test_exceptions_pass_and_the_streams_are_back() -> None:
    code = """
try:
    with hidden_output():
        chatter()
        raise LookupError
except LookupError:
    os.write(1, b"shown")
"""
    assert output_of(code) == ("shown", "")


def test_visible_output_goes_to_stderr() -> None:
    out, err = output_of("with visible_output(), hidden_output():\n    chatter()\nwith hidden_output():\n    chatter()")
    assert out == ""
    for words in ("native banner;", "native warning;", "python banner;", "python warning;"):
        assert err.count(words) == 1
