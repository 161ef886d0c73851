"""Python child processes that find the modules of their parent and no others. Standard library only.

``python -c`` and ``python -m`` search the working folder before everything else. That folder may be a bundle or a data
set from a stranger, and a ``numpy.py`` in it must not run.
"""

from __future__ import annotations

import os
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Folder that holds the packages of this toolkit."""


def python(code: str, *arguments: str) -> list[str]:
    """Returns the command of a child process that runs Python code.

    The child searches the same folders in the same order as this process, so that libraries named in ``PYTHONPATH`` or
    added at run time are found. ``-I`` would lose them, and ``-P`` alone exists from Python 3.11 on.

    Args:
        code: Code that the child executes.
        arguments: Arguments of the child, unchanged in its ``sys.argv`` after the first entry.
    """
    # sys is built in, so that no folder is searched before the path is replaced.
    start = f"import sys; sys.path[:] = {ascii(search_path())}\n{code}"
    return [sys.executable, *flags(), "-c", start, *arguments]


def search_path() -> list[str]:
    """Returns where this process searches modules, without the working folder that Python itself put first.

    The working folder stays if the user named it, for example in ``PYTHONPATH``. So does the folder of a checkout that
    is used without being installed, but after everything else.
    """
    entries = [entry for entry in sys.path if entry]
    by_name = getattr(sys.modules.get("__main__"), "__spec__", None) is not None  # started with python -m
    if by_name and not getattr(sys.flags, "safe_path", False) and working_folder() in entries:
        entries.remove(working_folder())
    return entries if HOME in entries else [*entries, HOME]


def working_folder() -> str:
    """Returns the working folder as ``python -m`` adds it, or an empty string if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def flags() -> list[str]:
    """Returns the flags that keep the child from importing more at its start than this process did."""
    given = [("-E", sys.flags.ignore_environment), ("-s", sys.flags.no_user_site), ("-S", sys.flags.no_site)]
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [name for name, is_set in given if is_set] + safe
