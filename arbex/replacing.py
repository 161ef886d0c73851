"""Putting a folder in the place of another so that nobody sees anything in between. Standard library only.

The new folder is staged under a hidden name beside the old one. Linux and macOS exchange the two names in one step,
whatever instant a process is killed at; where the system or the file system cannot, the old folder is moved aside for
an instant. A process that dies leaves its hidden folder behind, which the next one removes: each holds a lock on its
own, and the system releases the lock of a process that is gone.
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
"""Functions of the C library that rename files relative to open folders, and can exchange two of them."""

WORKING_FOLDER = {"linux": -100, "darwin": -2}
"""``AT_FDCWD``: paths are relative to the working folder."""

EXCHANGE = 2
"""``RENAME_EXCHANGE`` on Linux, ``RENAME_SWAP`` on macOS."""

ASIDE = ".old"


def put_in_place(stage: Path, out: Path) -> None:
    """Gives a folder the name of another, which afterwards is gone or bears the first one's name.

    Raises:
        OSError: If that is not possible; ``out`` is what it was then.
    """
    try:
        os.rename(stage, out)  # nothing is there, or an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not exchange(stage, out):
            move_aside(stage, out)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges the names of two folders in one step.

    Returns:
        Whether it was done; nothing has changed where the system, the file system or the rights do not allow it.
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
    """Gives a folder the name of another in two steps, between which there is none of that name.

    Raises:
        OSError: If that is not possible; ``out`` is what it was then.
    """
    aside = stage.with_name(stage.name + ASIDE)
    held = None
    with suppress(BlockingIOError):  # a process that has just put it there holds it still
        held = hold(out)  # else another one could take it for a leftover in between
    try:
        os.rename(out, aside)
        os.rename(stage, out)
    except BaseException:
        if aside.exists() and not out.exists():
            os.rename(aside, out)
        raise
    finally:
        release(held)
    os.rename(aside, stage)  # it must not come back once it is half removed


def make_stage(out: Path) -> tuple[Path, int | None]:
    """Makes an empty folder that is to take the name ``out``.

    Returns:
        The folder, and the lock on it for ``release``.

    Raises:
        OSError: If it cannot be made.
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
    """Returns how the hidden names of this machine's stages begin."""
    return f".{out.name}.{machine()}."


def machine() -> str:
    """Identifies this machine: on a shared disk, locks do not always tell whether a process of another one lives."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def hold(folder: Path) -> int | None:
    """Locks a folder until ``release``, or until this process ends, however it does.

    Returns:
        The lock, or None where the system or the file system has no such locks.

    Raises:
        BlockingIOError: If another process holds it.
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
    """Gives a lock back."""
    if held is not None:
        os.close(held)


def clear_leftovers(out: Path) -> None:
    """Removes what processes of this machine left beside ``out`` when they died.

    An old folder that was moved aside, and for which no new one came, gets its name back.
    """
    try:
        names = [name for name in os.listdir(out.parent) if name.startswith(prefix_of(out))]
    except OSError:  # there is no such folder yet
        return
    for folder in sorted(out.parent / name for name in names):
        with suppress(OSError):  # held by a process that lives, or gone by now
            held = hold(folder)
            if held is None:  # it cannot be told whether its process lives
                continue
            try:
                if folder.name.endswith(ASIDE) and not out.exists():
                    os.rename(folder, out)
                else:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                release(held)
