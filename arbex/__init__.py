"""Facial-expression models at the edge: train, export, and prove that what runs on the device is the model.

    import arbex

    run = arbex.train("faces", preset="tiny")
    arbex.export(run, ["android"])
    print(arbex.verify("bundles/android", data="faces").passed)

Everything here is loaded when it is used, so that ``import arbex`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arbex.api import bench, calibrate, classify, evaluate, export, load_run, open_bundle, train, verify

__version__ = "0.2.0"

__all__ = ["bench", "calibrate", "classify", "evaluate", "export", "load_run", "open_bundle", "train", "verify"]


def __getattr__(name: str) -> Any:
    """Loads what the library offers, at the first use."""
    if name in __all__:
        return getattr(import_module("arbex.api"), name)
    raise AttributeError(f"module 'arbex' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns what the library offers, for completion."""
    return __all__
