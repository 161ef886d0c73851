"""A format as the device sees it: the runtime that runs it, or what is checked if none does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbex.packages import Package
from runtimes.base import Runtime

Content = Mapping[str, Any]
"""Content of a file, as a JSON object."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of artifacts.

    Attributes:
        name: Name in manifests and reports, such as ``onnx``.
        suffix: Suffix of its files, without the leading dot.
        runner: Name of what runs it on its device, as reports show it.
        packages: Python packages any one of which can run it on this machine.
        runtime: Class that runs it on this machine; None if there is none.
        evaluator: Class that can run it on this machine as well, to compare ``runtime`` with; None if there is none.
        portable: Whether its packages have wheels for Linux on other instruction sets and need only NumPy, so that it
            also runs on emulated processors.
        elsewhere: Why it does not run on this machine, as sentences; empty if ``runtime`` is given.
        read_content: Reads the content of a file, to be compared with what the exporter recorded; None if nothing is
            recorded. Raises BackendError if the file is damaged or has another interface.
    """

    name: str
    suffix: str
    runner: str
    packages: tuple[Package, ...] = ()
    runtime: type[Runtime] | None = None
    evaluator: type[Runtime] | None = None
    portable: bool = False
    elsewhere: str = ""
    read_content: Callable[[Path], Content] | None = None

    @property
    def version(self) -> str:
        """Version of the package that runs it on this machine; empty if none is installed."""
        from importlib.metadata import PackageNotFoundError, version

        for package in self.packages:
            try:
                return version(package.distribution)
            except PackageNotFoundError:
                continue
        return ""
