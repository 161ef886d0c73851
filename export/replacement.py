"""What a new bundle may take the place of: an earlier bundle, and nothing that holds anything else."""

from __future__ import annotations

import zipfile
from pathlib import Path

from arbex.errors import BundleError, InputError
from arbex.files import refuse_file
from runtimes.bundle import read_manifest, unlisted_files
from runtimes.manifest import NAME

ALLOWED = "Only a bundle, whole or damaged, or an empty folder may be replaced."
REMEDY = "Give another --out, or remove that folder first."


def check_replaceable(out: Path) -> None:
    """Refuses a folder in whose place a bundle cannot be put without destroying something else.

    A bundle that lacks files or whose files were altered may be replaced: all that is in it came from an export.

    Raises:
        InputError: If ``out`` or a folder above it is a file, or ``out`` holds something that is no bundle, or a
            bundle holds a file that its manifest does not list, or the ``.zip`` file beside it is not of a bundle.
    """
    refuse_file(out)
    check_archive(out.parent / f"{out.name}.zip", out.name)
    inside = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
    if not inside:
        return
    if NAME not in inside:
        problem = f"{out} already holds something that is not a bundle, such as {inside[0]}."
        raise InputError(problem, allowed=ALLOWED, remedy=REMEDY)
    try:
        strange = unlisted_files(out, read_manifest(out))
    except BundleError as error:
        problem = f"{out} already holds something that is not a bundle of this version: {error.problem}"
        raise InputError(problem, allowed=ALLOWED, remedy=REMEDY) from error
    if strange:
        raise InputError(
            f"{out} holds {strange[0]}, which does not belong to the bundle there and would be removed with it.",
            remedy="Move it elsewhere, or give another --out.",
        )


def check_archive(archive: Path, name: str) -> None:
    """Refuses a file in whose place the archive of a bundle cannot be put, and which must not be removed as outdated.

    Raises:
        InputError: If it is there and does not hold a bundle of that name.
    """
    if not archive.exists():
        return
    try:
        with zipfile.ZipFile(archive) as stream:
            stream.getinfo(f"{name}/{NAME}")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{archive} is not the archive of a bundle; a new bundle would replace or remove it.",
            allowed=f"Only an archive with {name}/{NAME} in it may be replaced.",
            remedy="Give another --out, or move that file elsewhere.",
        ) from error
