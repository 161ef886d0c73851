"""Replacing one folder with another in a single step. Standard library only.

The new folder is staged under a hidden name next to the old one. Linux and macOS exchange the two names in one step, so
that a process may be killed at any time; where the system or the file system cannot, the old folder is moved aside for
a moment. A process that dies leaves its hidden folder behind, and the next process removes it: each process locks its
own folder, and the system releases the lock when the process ends.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

EXCHANGING = {"linux": "renameat2", "darwin": "renameatx_np"}
"""Functions of the C library that can exchange the names of two files."""

WORKING_FOLDER = {"linux": -100, "darwin": -2}
"""``AT_FDCWD``: paths are relative to the working folder."""

EXCHANGE = 2
"""``RENAME_EXCHANGE`` on Linux, ``RENAME_SWAP`` on macOS."""

ASIDE = ".old"


def put_in_place(stage: Path, out: Path) -> None:
    """Gives ``stage`` the name ``out``; a folder that had this name is then gone or has the name of ``stage``.

    Raises:
        OSError: If that is not possible; ``out`` is then unchanged.
    """
    try:
        os.rename(stage, out)  # succeeds if nothing or an empty folder is there
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not exchange(stage, out):
            move_aside(stage, out)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges the names of two folders in one step.

    Returns:
        Whether they were exchanged; nothing has changed if the system, the file system or the permissions forbid it.
    """
    if sys.platform not in EXCHANGING:
        return False
    try:
        import ctypes

        rename = getattr(ctypes.CDLL(None), EXCHANGING[sys.platform])
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a C library without the function
        return False
    here = WORKING_FOLDER[sys.platform]
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), EXCHANGE) == 0)


def move_aside(stage: Path, out: Path) -> None:
    """Gives ``stage`` the name ``out`` in two steps, between which no folder has that name.

    Raises:
        OSError: If that is not possible; ``out`` is then unchanged.
    """
    aside = stage.with_name(stage.name + ASIDE)
    held = None
    with suppress(BlockingIOError):  # the process that has just put it there may still hold its lock
        held = hold(out)  # otherwise another process could take it for a leftover
    try:
        os.rename(out, aside)
        os.rename(stage, out)
    except BaseException:
        if aside.exists() and not out.exists():
            os.rename(aside, out)
        raise
    finally:
        release(held)
    os.rename(aside, stage)  # under this name it is not restored, should its removal be interrupted


def make_stage(out: Path) -> tuple[Path, int | None]:
    """Creates an empty folder that is to get the name ``out``.

    Returns:
        The folder, and the lock on it for ``release``.

    Raises:
        OSError: If it cannot be created.
    """
    while True:
        stage = Path(tempfile.mkdtemp(prefix=prefix_of(out), dir=out.parent))
        try:
            held = hold(stage)
        except BlockingIOError:  # between these two lines another process took it for a leftover
            continue
        if stage.is_dir():
            stage.chmod(0o755)
            return stage, held
        release(held)


def prefix_of(out: Path) -> str:
    """Returns the prefix of the hidden names of this machine's stages."""
    return f".{out.name}.{machine()}."


def machine() -> str:
    """Identifies this machine: on a shared disk, locks may not show whether a process on another machine is alive."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def hold(folder: Path) -> int | None:
    """Locks a folder until ``release``, or until this process ends in whatever way.

    Returns:
        The lock, or None if the system or the file system does not support it.

    Raises:
        BlockingIOError: If another process holds the lock.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def release(held: int | None) -> None:
    """Releases a lock."""
    if held is not None:
        os.close(held)


def clear_leftovers(out: Path) -> None:
    """Removes what processes of this machine left next to ``out`` when they died.

    An old folder that was moved aside but never replaced gets its name back.
    """
    try:
        names = [name for name in os.listdir(out.parent) if name.startswith(prefix_of(out))]
    except OSError:  # the parent does not exist yet
        return
    for folder in sorted(out.parent / name for name in names):
        with suppress(OSError):  # locked by a live process, or gone by now
            held = hold(folder)
            if held is None:  # whether its process is alive cannot be determined
                continue
            try:
                if folder.name.endswith(ASIDE) and not out.exists():
                    os.rename(folder, out)
                else:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                release(held)
