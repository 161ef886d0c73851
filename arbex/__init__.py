"""Facial-expression models at the edge: train, export, and prove that what runs on the device is the model.

    import arbex

    run = arbex.train("faces", preset="tiny")
    arbex.export(run, ["android"])
    print(arbex.verify("bundles/android", data="faces").passed)

The functions are imported on first use, so that ``import arbex`` itself is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arbex.api import bench, calibrate, classify, evaluate, export, load_run, open_bundle, train, verify

__version__ = "0.2.0"

__all__ = ["bench", "calibrate", "classify", "evaluate", "export", "load_run", "open_bundle", "train", "verify"]


def __getattr__(name: str) -> Any:
    """Imports a public function on first use."""
    if name in __all__:
        return getattr(import_module("arbex.api"), name)
    raise AttributeError(f"module 'arbex' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns the public names, for completion."""
    return __all__
