"""The formats that bundles may hold. A format is registered here once; all other code looks it up here."""

from __future__ import annotations

from arbex.checks import check_name
from arbex.errors import UnsupportedError
from arbex.packages import Package
from runtimes.coreai_runtime import AIMODEL
from runtimes.coreml_runtime import MLPACKAGE
from runtimes.emulation.environment import Environment, default_cache
from runtimes.executorch_runtime import PTE
from runtimes.formats import Format
from runtimes.litert_runtime import TFLITE
from runtimes.onnx_runtime import ONNX
from runtimes.tensorrt_engines import RTX_ENGINE, TENSORRT_ENGINE

FORMATS: dict[str, Format] = {}
"""All formats by name."""


def register_format(added: Format) -> Format:
    """Registers a format, so that bundles may hold it, and returns it.

    Raises:
        UnsupportedError: If its name or suffix is taken.
    """
    for known in FORMATS.values():
        if added.name == known.name or added.suffix == known.suffix:
            raise UnsupportedError(
                f"The format {known.name!r} (.{known.suffix}) is already registered.",
                remedy="Give the new format another name and another suffix.",
            )
    FORMATS[added.name] = added
    return added


def find_format(name: str) -> Format:
    """Returns the format of that name.

    Raises:
        UnsupportedError: If there is none.
    """
    check_name("format", name, FORMATS)
    return FORMATS[name]


def default_environment() -> Environment:
    """Returns the emulation of processors in the user's folder of caches."""
    packages = tuple(package for known in FORMATS.values() if known.portable for package in known.packages)
    return Environment(default_cache() / "emulation", packages)


def runtime_packages() -> list[Package]:
    """Returns the packages that run artifacts in Python."""
    return [package for known in FORMATS.values() for package in known.packages]


for builtin in (ONNX, TFLITE, MLPACKAGE, RTX_ENGINE, TENSORRT_ENGINE, PTE, AIMODEL):
    register_format(builtin)
