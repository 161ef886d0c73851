"""Reading and running bundles: what a device installs. NumPy and Pillow only; runtimes are imported on first use."""

from runtimes.base import Prediction, Runtime
from runtimes.bundle import Bundle, open_bundle

__all__ = ["Bundle", "Prediction", "Runtime", "open_bundle"]
