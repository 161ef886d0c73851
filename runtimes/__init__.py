"""Reading and running bundles: what a device installs. NumPy and Pillow only; each runtime is imported late."""

from runtimes.base import Prediction, Runtime
from runtimes.bundle import Bundle, open_bundle

__all__ = ["Bundle", "Prediction", "Runtime", "open_bundle"]
