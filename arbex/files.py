"""Writing files and folders completely or not at all. Standard library only."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arbex.errors import InputError
from arbex.replacing import clear_leftovers, make_stage, put_in_place, release


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes ``content`` to ``path`` in one step; a reader sees the old file or the new one.

    Raises:
        InputError: If the folder does not exist or cannot be written to.
    """
    # Names of files that are not UTF-8 are written as they are.
    data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Give a path in a folder that exists and that you may write to.",
        ) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def refuse_file(folder: Path) -> None:
    """Refuses the path of a folder that is a file or lies below one.

    Raises:
        InputError: If the path, or one above it, is a file.
    """
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; a folder must be written there.", remedy="Give another path.")


def refuse_content(folder: Path) -> None:
    """Refuses a folder that is not empty.

    Raises:
        InputError: If it holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty.", remedy="Give another folder, or remove this one first.")


@contextmanager
def staged_folder(out: Path, *, check: Callable[[Path], None] = refuse_content) -> Iterator[Path]:
    """Yields a folder next to ``out`` that gets its name if the block succeeds and is removed if it fails.

    An older folder is replaced in one step: even if this process is killed, ``out`` is the complete old folder or the
    complete new one.

    Args:
        out: Folder to write, or a link to it. Missing parents are created.
        check: Raises an error if ``out`` must not be replaced. It is called before the block and after it.

    Raises:
        InputError: If ``out`` is a file, or must not be replaced, or cannot be made.
    """
    out = Path(os.path.realpath(out)) if out.is_symlink() else out
    refuse_file(out)
    clear_leftovers(out)
    check(out)
    new = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage, held = make_stage(out)
    except OSError as error:
        raise unwritable(out, error) from error
    try:
        yield stage
        check(out)
        try:
            put_in_place(stage, out)
        except OSError as error:
            raise unwritable(out, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)  # the unfinished folder, or the old one, which now has its name
        release(held)
        with suppress(OSError):  # they hold something by now
            for folder in new:
                folder.rmdir()


def unwritable(folder: Path, error: OSError) -> InputError:
    """Returns the error for a folder that cannot be written."""
    return InputError(f"{folder} cannot be written: {error.strerror}.", remedy="Give a folder that you may write to.")


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Puts a file from a work folder where it belongs: as a hard link the first time, as a copy after that.

    Two bundles never share a file, so that a change in one does not reach the other.
    """
    if os.stat(source).st_nlink == 1:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)
