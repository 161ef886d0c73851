"""Whether integer sums of ONNX Runtime saturate on this processor, which the processor itself is asked.

x86 processors without VNNI add products of uint8 and int8 in pairs of 16 bits, where they are cut at 32,767. Lists of
processors and of their features would be incomplete, and emulators report those of the machine that they run on.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("saturation_probe.onnx")
"""Graph of one operator: the sum of four products of ``values``, uint8 ``[1, 4]``, and weights, which are 127."""

LARGEST = 255
EXACT_SUM = 4 * LARGEST * 127


@cache
def sums_saturate(onnxruntime: Any) -> bool:
    """Tells whether sums of products of uint8 and int8 are cut on this processor.

    Args:
        onnxruntime: The package.
    """
    import numpy as np

    session = onnxruntime.InferenceSession(str(PROBE), providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"values": np.full((1, 4), LARGEST, np.uint8)})
    return int(sums[0, 0]) != EXACT_SUM
