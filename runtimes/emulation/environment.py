"""What emulation needs on this machine: QEMU and, for another instruction set, Python with the runtimes' packages.

All of it lies in a cache folder, taken from Debian and the Python Package Index. Nothing is installed in the system.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from arbex.errors import BackendError
from arbex.packages import Package
from arbex.progress import SILENT, Reporter
from runtimes import isolated
from runtimes.emulation.processors import Processor

DEBIAN_NAMES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's names of instruction sets."""

RELEASE: Final = "trixie"
PYTHON: Final = "python3.13"
"""Release of Debian, and its Python."""

SYSTEM: Final = (f"{PYTHON}-minimal", f"lib{PYTHON}-stdlib", "libstdc++6", "libgomp1")
LEFT_OUT: Final = ("media-types", "netbase", "tzdata", "libdb5.3t64", "readline-common", "openssl-provider-legacy")
"""Packages of Debian that Python and the runtimes need, and dependencies that they do without."""

Write: TypeAlias = Callable[[Path], None]
"""Writes a part to a path that does not exist."""

SET_UP: Final = "arbex emulators"
"""Command that sets everything up."""


def default_cache() -> Path:
    """Returns the folder for what can be made again: ``ARBEX_CACHE``, or ``arbex`` in the user's folder of caches."""
    given = os.environ.get("ARBEX_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arbex"


@dataclass(frozen=True)
class Environment:
    """The parts of emulation in a cache folder.

    Attributes:
        folder: The folder.
        packages: Packages of the runtimes that emulated processors run; their versions are those of this machine.
    """

    folder: Path
    packages: tuple[Package, ...]

    @property
    def requirements(self) -> list[str]:
        """Exact versions of the runtimes on this machine, and of NumPy."""
        from importlib.metadata import version

        installed = [package.distribution for package in self.packages if package.is_installed]
        return [f"{name}=={version(name)}" for name in ("numpy", *installed)]

    def qemu(self, machine: str) -> Path:
        """Returns the emulator of an instruction set."""
        return self.folder / "qemu" / RELEASE / f"qemu-{machine}"

    def system(self, machine: str) -> Path:
        """Returns the root folder of a foreign instruction set."""
        return self.folder / "system" / RELEASE / machine

    def site(self, machine: str) -> Path:
        """Returns the folder of the runtimes' packages for a foreign instruction set."""
        return self.folder / "site" / machine / "+".join(self.requirements)

    def parts(self, processor: Processor) -> list[Path]:
        """Returns what must exist before a processor can be emulated."""
        needed = [self.qemu(processor.machine)]
        if is_foreign(processor):
            needed += [self.system(processor.machine), self.site(processor.machine)]
        return needed

    def check(self, processor: Processor) -> None:
        """Checks that a processor can be emulated.

        Raises:
            BackendError: If something is missing, with how to set it up.
        """
        missing = [part for part in self.parts(processor) if not part.exists()]
        if missing:
            raise BackendError(
                f"The processor {processor.name} cannot be emulated yet: {missing[0]} is missing.",
                remedy=f"Set it up with: {SET_UP} {processor.name}.",
            )

    def command(self, processor: Processor, code: str, *arguments: str) -> list[str]:
        """Returns the command that runs Python code on an emulated processor; see ``isolated.python``."""
        emulator = [str(self.qemu(processor.machine)), "-cpu", processor.model]
        if not is_foreign(processor):
            return [*emulator, *isolated.python(code, *arguments)]
        root = self.system(processor.machine)
        path = [str(self.site(processor.machine)), isolated.HOME]
        start = f"import sys; sys.path[:0] = {path!r}\n{code}"
        python = str(root / "usr/bin" / PYTHON)
        return [*emulator, "-L", str(root), python, "-I", "-c", start, *arguments]

    def set_up(self, processors: Sequence[Processor], report: Reporter = SILENT) -> None:
        """Downloads whatever is missing.

        Raises:
            BackendError: If this machine cannot emulate, or something cannot be downloaded.
        """
        if sys.platform != "linux" or platform.machine() not in DEBIAN_NAMES:
            raise BackendError(
                f"Programs cannot be emulated on {sys.platform} with {platform.machine()}.",
                allowed=f"Allowed: Linux on {' or '.join(DEBIAN_NAMES)}.",
            )
        for processor in processors:
            writers = (write_qemu, write_system, self.write_site)
            for part, write in zip(self.parts(processor), writers, strict=False):
                self.make(part, partial(write, processor.machine), report)

    def make(self, part: Path, write: Write, report: Reporter) -> None:
        """Makes a part that is missing, whole or not at all."""
        if part.exists():
            return
        report.line(f"making {part}")
        part.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=part.parent, prefix=".") as name:
            unfinished = Path(name) / "part"
            with report.doing(f"making {part}"):
                write(unfinished)
            unfinished.rename(part)

    def write_site(self, machine: str, out: Path) -> None:
        """Unpacks the wheels of the runtimes for an instruction set; nothing in them runs."""
        tags = [f"manylinux_2_{minor}_{machine}" for minor in (28, 27, 24, 17)]
        chosen = [word for tag in tags for word in ("--platform", tag)]
        options = ["--python-version", PYTHON.removeprefix("python"), "--implementation", "cp", "--no-compile"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            str(out),
        ]
        done = subprocess.run(
            [*command, *chosen, *options, "--only-binary=:all:", *self.requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            problem = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
            raise BackendError(
                f"The packages {', '.join(self.requirements)} for {machine} cannot be installed: {problem}.",
                remedy="Install versions of these packages that have wheels for Linux on "
                f"{machine} and {PYTHON.capitalize()}.",
            )


def is_foreign(processor: Processor) -> bool:
    """Tells whether a processor has another instruction set than this machine."""
    return processor.machine != platform.machine()


def write_qemu(machine: str, out: Path) -> None:
    """Writes the emulator of an instruction set, a single static program."""
    from runtimes.emulation import debian

    entry = debian.load_index(RELEASE, DEBIAN_NAMES[platform.machine()])["qemu-user"]
    name = f"usr/bin/qemu-{machine}"
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        debian.unpack(debian.fetch(entry), Path(folder), [name])
        (Path(folder) / name).rename(out)


def write_system(machine: str, out: Path) -> None:
    """Writes a root folder with Python and the libraries of the runtimes."""
    from runtimes.emulation import debian

    out.mkdir()
    index = debian.load_index(RELEASE, DEBIAN_NAMES[machine])
    for entry in debian.with_needs(SYSTEM, index, LEFT_OUT):
        debian.unpack(debian.fetch(entry), out)
    for name in ("bin", "lib", "lib64"):  # Debian's package base-files, which is not needed otherwise, has these links
        if not (out / name).exists():
            (out / name).symlink_to(f"usr/{name}")
