"""Files of Debian packages, unpacked into a folder: no root, no chroot, and nothing of them runs while it is done."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from arbex.errors import BackendError, reason

MIRROR: Final = "https://deb.debian.org/debian"

SECONDS: Final = 60
"""Time within which the mirror must answer."""

MAGIC: Final = b"!<arch>\n"
HEADER: Final = 60
"""First bytes of an ``ar`` archive, and length of the header of each of its members."""


@dataclass(frozen=True)
class Entry:
    """A package in the index of a release.

    Attributes:
        name: Its name.
        path: Path of its file on the mirror.
        sha256: Digest of that file.
        needs: Names of the packages that it depends on; the first one of alternatives.
        provides: Other names that it has.
    """

    name: str
    path: str
    sha256: str
    needs: tuple[str, ...]
    provides: tuple[str, ...]


def download(path: str) -> bytes:
    """Returns a file of the mirror.

    Raises:
        BackendError: If the mirror cannot be reached or does not have it.
    """
    url = f"{MIRROR}/{path}"
    try:
        with urlopen(url, timeout=SECONDS) as answer:
            return answer.read()  # type: ignore[no-any-return]
    except (URLError, OSError) as error:
        raise BackendError(
            f"{url} cannot be downloaded: {reason(error)}.", remedy="Connect the machine to the network and try again."
        ) from error


def names_in(relations: str) -> tuple[str, ...]:
    """Returns the names in a list such as ``libc6 (>= 2.38), mime-support | media-types``."""
    first = (relation.partition("|")[0] for relation in relations.split(",") if relation.strip())
    return tuple(re.sub(r"[ :(].*", "", relation.strip()) for relation in first)


def read_index(text: str) -> dict[str, Entry]:
    """Returns the packages of an index, and what they provide, by name."""
    found: dict[str, Entry] = {}
    provided: dict[str, Entry] = {}
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.split("\n") if re.match(r"[\w-]+: ", line))
        if "Package" not in fields:
            continue
        entry = Entry(
            name=fields["Package"],
            path=fields["Filename"],
            sha256=fields["SHA256"],
            needs=names_in(f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"),
            provides=names_in(fields.get("Provides", "")),
        )
        found[entry.name] = entry
        provided.update(dict.fromkeys(entry.provides, entry))
    return provided | found


def load_index(release: str, machine: str) -> dict[str, Entry]:
    """Returns the packages of a release such as ``trixie`` for a Debian architecture such as ``arm64``."""
    return read_index(lzma.decompress(download(f"dists/{release}/main/binary-{machine}/Packages.xz")).decode())


def with_needs(names: Iterable[str], index: Mapping[str, Entry], left_out: Iterable[str] = ()) -> list[Entry]:
    """Returns packages and everything that they depend on, except those that are left out."""
    found: dict[str, Entry] = {}
    open_names, skipped = list(names), set(left_out)
    while open_names:
        entry = index[open_names.pop()]
        if entry.name not in found and entry.name not in skipped:
            found[entry.name] = entry
            open_names.extend(entry.needs)
    return list(found.values())


def fetch(entry: Entry) -> bytes:
    """Returns the file of a package.

    Raises:
        BackendError: If it cannot be downloaded, or is not the one that the index names.
    """
    content = download(entry.path)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BackendError(f"The file of the package {entry.name} is damaged.", remedy="Try again.")
    return content


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields the members of an ``ar`` archive, the form of a package file: names and contents."""
    if not archive.startswith(MAGIC):
        raise ValueError("it is not a Debian package")
    place = len(MAGIC)
    while place < len(archive):
        header = archive[place : place + HEADER]
        size = int(header[48:58])
        place += HEADER
        yield header[:16].decode().strip().rstrip("/"), archive[place : place + size]
        place += size + size % 2


def unpack(package: bytes, folder: Path, only: Iterable[str] = ()) -> None:
    """Unpacks the files of a package into a folder.

    Args:
        package: Content of its file.
        folder: The folder.
        only: Paths to unpack, such as ``usr/bin/qemu-x86_64``; all by default.

    Raises:
        BackendError: If the package is damaged, or a file of it would leave the folder.
    """
    wanted = set(only)
    try:
        (data,) = (content for name, content in members(package) if name.startswith("data.tar"))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            inside = [m for m in archive.getmembers() if not wanted or m.name.removeprefix("./") in wanted]
            # Links in these packages point to paths from the root, which the filter for data would refuse.
            archive.extractall(folder, inside, filter=lambda member, _: within(member, folder))
    except (ValueError, OSError, tarfile.TarError) as error:
        raise BackendError(f"A package cannot be unpacked: {reason(error)}.", remedy="Try again.") from error


def within(member: tarfile.TarInfo, folder: Path) -> tarfile.TarInfo | None:
    """Returns a file, folder or link of a package as it is unpacked into a folder; None for devices.

    A link to a path from the root becomes one to the same path in the folder.

    Raises:
        tarfile.TarError: If the path leaves the folder.
    """
    for name in (member.name, member.linkname if member.islnk() else ""):
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise tarfile.OutsideDestinationError(member, str(target))
    if member.issym() and member.linkname.startswith("/"):
        up = "../" * len(Path(member.name.removeprefix("./")).parent.parts)
        return member.replace(linkname=f"{up}{member.linkname.lstrip('/')}", deep=False)
    return member if member.isfile() or member.isdir() or member.issym() or member.islnk() else None
