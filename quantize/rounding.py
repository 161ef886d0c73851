"""What an observer of torchao rounds a tensor to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_observer(module: Any) -> bool:
    """Tells whether a module of a prepared program is an observer."""
    return hasattr(module, "calculate_qparams")


def round_activation(value: Tensor, observer: Any) -> Tensor:
    """Returns an activation rounded to 8 bits."""
    scale, zero = observer.calculate_qparams()
    low, high = observer.quant_min, observer.quant_max
    return torch.fake_quantize_per_tensor_affine(value, float(scale), int(zero), low, high)


def round_weight(weight: Tensor, observer: Any) -> Tensor:
    """Returns a weight rounded to 8 bits, with one scale per channel."""
    observer(weight)
    scales, zeros = observer.calculate_qparams()
    low, high = observer.quant_min, observer.quant_max
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros.int(), observer.ch_axis, low, high)
