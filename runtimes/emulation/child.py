"""What runs inside the emulator: one artifact on the images of a file. It needs NumPy and the artifact's runtime."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from runtimes.base import Runtime

CODE = "from runtimes.emulation.child import answer_parent; answer_parent()"
"""Code of the child process."""


def answer_parent() -> None:
    """Runs the artifact on the command line of this child, and writes its answers.

    The arguments are the class of the runtime as ``module:name``, the artifact, the side of its input in pixels, the
    file of images (``.npy``) and the file to write (``.npz``).
    """
    name, artifact, side, images, out = sys.argv[1:]
    module, _, attribute = name.partition(":")
    runtime_class: type[Runtime] = getattr(import_module(module), attribute)
    with runtime_class(Path(artifact), int(side), threads=1) as runtime:
        answers = runtime.run_all(np.load(images))
    np.savez(out, **answers._asdict())
