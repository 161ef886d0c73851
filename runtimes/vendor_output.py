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

DEBUG = "ARBEX_DEBUG"


@contextmanager
def hidden_output() -> Iterator[None]:
    """Sends what native code and Python write to stdout and stderr into a file that vanishes.

    Python warnings are dropped too. Exceptions pass through. While the variable ``ARBEX_DEBUG`` is set, as
    ``--debug`` does, everything is shown, on stderr. For commands only: it concerns the whole process, other threads
    included.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    debug = DEBUG in os.environ
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
        try:
            os.dup2(2 if debug else sink.fileno(), 1)
            if not debug:
                os.dup2(sink.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            for descriptor in saved:
                os.close(descriptor)
