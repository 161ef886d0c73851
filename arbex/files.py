"""Writing files so that nothing half-written is ever left behind. Standard library only."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arbex.errors import InputError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replaces ``path`` by ``content`` in one step; a reader sees the old file or the new one.

    Raises:
        InputError: If the folder does not exist or cannot be written to.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.", remedy="Give a folder that exists.") from error
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


@contextmanager
def staged_folder(out: Path, *, replace_if: str = "") -> Iterator[Path]:
    """Yields a folder beside ``out`` that takes its name when the block succeeds and vanishes when it does not.

    Args:
        out: The wanted folder. Its parents are made.
        replace_if: A file name; an existing folder that holds it may be replaced. Without it, only an empty one.

    Raises:
        InputError: If ``out`` is a file, or holds something and must not be replaced, or cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a folder is to be written there.", remedy="Give another path.")
    replaceable = bool(replace_if) and (out / replace_if).is_file()
    if out.exists() and not replaceable and any(out.iterdir()):
        raise InputError(f"{out} already holds something.", remedy="Give another folder, or remove this one first.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(
            f"{out} cannot be written: {error.strerror}.", remedy="Give a folder you may write to."
        ) from error
    try:
        stage.chmod(0o755)
        yield stage
        if out.exists():
            shutil.rmtree(out)
        stage.rename(out)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def hand_over(source: str | Path, target: str | Path) -> None:
    """Puts a file that was made in a work folder where it belongs: by name alone at first, as a copy after that.

    Two bundles never share a file: what is changed in one is not changed in the other.
    """
    if os.stat(source).st_nlink == 1:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)
