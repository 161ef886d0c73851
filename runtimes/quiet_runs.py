"""Running artifacts without what vendors' packages print, but with progress."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from arbex.progress import Step, uncounted
from runtimes.base import Prediction, Runtime, concatenate
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def run_quietly(runtime: Runtime, images: NDArray[np.uint8], step: Step = uncounted) -> Prediction:
    """Returns the answers for any number of images; see ``Runtime.run_all``.

    Args:
        runtime: What runs them.
        images: uint8 RGB ``[n, S, S, 3]``, with n at least 1.
        step: Receives how many images have been answered; what it prints is shown.
    """
    parts = []
    for start in range(0, len(images), runtime.batch):
        with hidden_output():
            parts.append(runtime.run(images[start : start + runtime.batch]))
        step(min(start + runtime.batch, len(images)))
    return concatenate(parts)


def run_unrounded(runtime: Runtime, images: NDArray[np.uint8], step: Step = uncounted) -> Prediction:
    """Returns the answers without rounding any value to float16; see ``Runtime.unrounded`` and ``run_quietly``."""
    with ExitStack() as stack:
        with hidden_output():
            exact = stack.enter_context(runtime.unrounded())
        return run_quietly(exact, images, step)
