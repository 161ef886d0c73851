"""Which packages work on this machine, and how to install the others."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from arbex.packages import Package
from runtimes import isolated


@dataclass(frozen=True, kw_only=True)
class Probe:
    """State of a package on this machine.

    Attributes:
        name: Name in the package registry.
        package: Import name.
        version: Its version; None if it is not installed.
        works: Whether it can be imported.
        gives: What it is needed for.
        remedy: How to install it.
        why: Why it does not work; empty if it does.
    """

    name: str
    package: str
    version: str | None
    works: bool
    gives: str
    remedy: str
    why: str

    @property
    def state(self) -> str:
        """``works``, ``missing`` or ``broken``."""
        return "works" if self.works else "missing" if self.version is None else "broken"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine and the packages on it.

    Attributes:
        python: Version of Python.
        platform: Operating system and processor.
        backends: State of each package.
    """

    python: str
    platform: str
    backends: tuple[Probe, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns what was found as the command prints it."""
        return asdict(self)


def probe(package: Package) -> Probe:
    """Finds out whether a package is installed and can be imported, in a process of its own."""
    version, why = None, "not installed"
    if package.is_installed:
        version, why = version_of(package), import_problem(package)
    return Probe(
        name=package.distribution,
        package=package.module,
        version=version,
        works=not why,
        gives=package.purpose,
        remedy=package.installation,
        why=why,
    )


def version_of(package: Package) -> str:
    """Returns the version of an installed package, or ``unknown``."""
    try:
        return metadata.version(package.distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def import_problem(package: Package) -> str:
    """Imports a package in another process; returns what went wrong, or an empty string."""
    command = isolated.python(f"import warnings; warnings.simplefilter('ignore')\nimport {package.module}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"importing it ended with exit code {done.returncode}"


def examine(packages: Sequence[Package]) -> Machine:
    """Examines packages on this machine, in the given order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each probe waits for a process of its own
        backends = tuple(pool.map(probe, packages))
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        backends=backends,
    )
