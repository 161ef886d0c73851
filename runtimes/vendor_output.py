"""Hiding what vendors' packages print.

Converters and runtimes write banners, progress and warnings straight to the process's file descriptors, and our own
errors would be lost among them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VISIBLE: ContextVar[bool] = ContextVar("VISIBLE", default=False)


@contextmanager
def visible_output() -> Iterator[None]:
    """Shows on stderr what ``hidden_output`` would hide within the block; ``--debug`` uses it."""
    token = VISIBLE.set(True)
    try:
        yield
    finally:
        VISIBLE.reset(token)


@contextmanager
def hidden_output() -> Iterator[None]:
    """Discards what native code and Python write to stdout and stderr within the block.

    Python warnings are discarded too. Exceptions pass through. The whole process is affected, other threads included.
    """
    if VISIBLE.get():
        with redirected({1: 2}):
            yield
        return
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with redirected({1: sink.fileno(), 2: sink.fileno()}):
            yield


@contextmanager
def redirected(descriptors: dict[int, int]) -> Iterator[None]:
    """Redirects file descriptors of the process within the block: each key to its value."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in descriptors}
    try:
        for number, target in descriptors.items():
            os.dup2(target, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
