"""Keeping vendors' chatter away from people.

Converters and runtimes write banners, progress and warnings straight to the process's file descriptors; an error of
ours would drown in them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SHOWN: ContextVar[bool] = ContextVar("SHOWN", default=False)


@contextmanager
def shown_output() -> Iterator[None]:
    """Lets what ``hidden_output`` would hide within the block appear on stderr, as ``--debug`` wants it."""
    token = SHOWN.set(True)
    try:
        yield
    finally:
        SHOWN.reset(token)


@contextmanager
def hidden_output() -> Iterator[None]:
    """Sends what native code and Python write to stdout and stderr into a file that vanishes.

    Python warnings are dropped too. Exceptions pass through. It concerns the whole process, other threads included.
    """
    if SHOWN.get():
        with redirected({1: 2}):
            yield
        return
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with redirected({1: sink.fileno(), 2: sink.fileno()}):
            yield


@contextmanager
def redirected(descriptors: dict[int, int]) -> Iterator[None]:
    """Lets file descriptors of the process lead elsewhere within the block: from each key to its value."""
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
