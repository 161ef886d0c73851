"""What the toolkit knows of a format on the device's side: what runs it, and what is checked where nothing does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbex.packages import Package
from runtimes.base import Runtime

Content = Mapping[str, Any]
"""What a file holds, as the values of a JSON object."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of artifacts.

    Attributes:
        name: In manifests and reports, such as ``onnx``.
        suffix: Of its files, without the leading dot.
        runner: What runs it on its device, as reports name it.
        packages: Python packages of which one is enough to run it here.
        runtime: Runs it here; None where nothing here can.
        elsewhere: Why nothing here runs it, as sentences; empty where ``runtime`` does.
        read_content: Reads back what a file holds that nothing here runs, to be compared with what the exporter
            recorded. Raises BackendError for a file that is damaged or has another interface.
    """

    name: str
    suffix: str
    runner: str
    packages: tuple[Package, ...] = ()
    runtime: type[Runtime] | None = None
    elsewhere: str = ""
    read_content: Callable[[Path], Content] | None = None
