"""Reading and running bundles: what a device installs. NumPy and Pillow only; everything is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtimes.base import Prediction, Runtime
    from runtimes.bundle import Bundle, open_bundle

__all__ = ["Bundle", "Prediction", "Runtime", "open_bundle"]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name in __all__:
        module = "runtimes.base" if name in ("Prediction", "Runtime") else "runtimes.bundle"
        return getattr(import_module(module), name)
    raise AttributeError(f"module 'runtimes' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns the public names, for completion."""
    return __all__
