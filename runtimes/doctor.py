"""Which packages work on this machine, and how to get the others."""

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
    """What was found out about a package.

    Attributes:
        name: Name in the package registry.
        package: Import name.
        version: Its version; None where it is not installed.
        works: Whether it can be imported.
        gives: What works with it.
        remedy: How to get it.
        why: Why it does not work; empty where it does.
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
    """What a machine offers.

    Attributes:
        python: Version of Python.
        platform: Operating system and processor.
        backends: What each package gives.
    """

    python: str
    platform: str
    backends: tuple[Probe, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns what was found as the command prints it."""
        return asdict(self)


def probe(package: Package) -> Probe:
    """Tells whether a package is there and can be imported, tried in a process of its own."""
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
    return lines[-1] if lines else f"its import ended with exit code {done.returncode}"


def examine(packages: Sequence[Package]) -> Machine:
    """Returns what works on this machine, a row per package."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each probe waits for a process of its own
        backends = tuple(pool.map(probe, packages))
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        backends=backends,
    )
