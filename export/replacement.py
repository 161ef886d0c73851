"""What a new bundle may replace: an earlier bundle, and nothing that holds anything else."""

from __future__ import annotations

import zipfile
from pathlib import Path

from arbex.errors import BundleError, InputError
from arbex.files import refuse_file
from runtimes.bundle import read_manifest, unlisted_files
from runtimes.manifest import NAME

ALLOWED = "Allowed: an earlier bundle, whole or damaged, or an empty folder."
REMEDY = "Give another --out, or remove that folder first."


def check_replaceable(out: Path) -> None:
    """Refuses a folder that a bundle could not replace without destroying something else.

    A bundle that lacks files or whose files were altered may be replaced: everything in it came from an export.

    Raises:
        InputError: If ``out`` or a path above it is a file, or ``out`` holds something that is not a bundle, or the
            bundle there holds a file that its manifest does not list, or the ``.zip`` file next to it is not that of a
            bundle.
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
    """Refuses a file that is not the archive of a bundle, which an export would replace or remove as outdated.

    Raises:
        InputError: If the file exists and does not hold a bundle of that name.
    """
    if not archive.exists():
        return
    try:
        with zipfile.ZipFile(archive) as stream:
            stream.getinfo(f"{name}/{NAME}")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{archive} is not the archive of a bundle; a new bundle would replace or remove it.",
            allowed=f"Allowed: an archive that holds {name}/{NAME}.",
            remedy="Give another --out, or move that file elsewhere.",
        ) from error
