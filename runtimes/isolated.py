"""Child Pythons that find the modules of their parent, and nothing else. Standard library only.

``python -c`` and ``python -m`` put the working folder before everything else. A user stands in folders of strangers, a
bundle or a data set, and a ``numpy.py`` that lies there must not run.
"""

from __future__ import annotations

import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Folder that this toolkit's own packages come from."""


def python(code: str, *arguments: str) -> list[str]:
    """Returns the command of a child Python that runs ``code``.

    The child searches the same folders in the same order as this process, so that libraries named in ``PYTHONPATH`` or
    added while running are found. ``-I`` would lose them, and ``-P`` alone exists from Python 3.11 on.

    Args:
        code: What the child executes.
        arguments: Follow in the child's ``sys.argv`` after the first entry, unchanged.
    """
    # sys is built in: nothing is looked up in a folder before the search path is replaced.
    start = f"import sys; sys.path[:] = {ascii(search_path())}\n{code}"
    return [sys.executable, *flags(), "-c", start, *arguments]


def search_path() -> list[str]:
    """Returns where this process finds modules, without the working folder that Python itself put first.

    The same folder stays where the user named it, in ``PYTHONPATH`` for example. A checkout that is used from its own
    folder, without being installed, stays too, but after everything else.
    """
    entries = [entry for entry in sys.path if entry]
    by_name = getattr(sys.modules.get("__main__"), "__spec__", None) is not None  # started with python -m
    if by_name and not getattr(sys.flags, "safe_path", False) and working_folder() in entries:
        entries.remove(working_folder())
    return entries if HOME in entries else [*entries, HOME]


def working_folder() -> str:
    """Returns the working folder as ``python -m`` adds it, or an empty text where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def flags() -> list[str]:
    """Returns the flags that keep the child from importing, while it starts, what this process did not."""
    given = [("-E", sys.flags.ignore_environment), ("-s", sys.flags.no_user_site), ("-S", sys.flags.no_site)]
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [name for name, is_set in given if is_set] + safe
