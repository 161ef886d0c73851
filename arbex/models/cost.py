"""Cost of a model: parameters and multiply-adds of each part, and memory of one forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from arbex.models.classifier import ExpressionClassifier


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Cost of one part of a model.

    Attributes:
        part: Name in the model, such as ``encoder.image``.
        parameters: Number of parameters.
        macs: Multiply-adds per image in convolutions, linear layers and attention.
    """

    part: str
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a model at batch 1.

    Attributes:
        parts: Cost of each part, in the order of the model.
        weight_bytes: Memory of parameters and buffers, in bytes.
        activation_bytes: Peak memory of intermediate values, in bytes.
    """

    parts: tuple[PartCost, ...]
    weight_bytes: int
    activation_bytes: int

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole model."""
        return sum(part.parameters for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-adds per image of the whole model."""
        return sum(part.macs for part in self.parts)


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tracks the memory of all tensors that are created while it is active."""

    def __init__(self) -> None:
        """Starts at zero."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and counts its results."""
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self.track(value.untyped_storage())
        self.peak = max(self.peak, sum(self.live.values()))
        return out

    def track(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage until it is freed."""
        key = storage._cdata
        if key not in self.live:
            self.live[key] = storage.nbytes()
            weakref.finalize(storage, self.live.pop, key, None)


def parts_of(model: ExpressionClassifier) -> Iterator[tuple[str, nn.Module]]:
    """Yields the parts of a model: the children of its encoder, and the head."""
    for name, child in model.encoder.named_children():
        yield f"encoder.{name}", child
    yield "head", model.head


def macs_of(name: str, module: nn.Module, counts: Mapping[str, int]) -> int:
    """Returns the multiply-adds of a module; those of a module list are the sum over its members."""
    if isinstance(module, nn.ModuleList):
        return sum(macs_of(f"{name}.{i}", child, counts) for i, child in enumerate(module))
    return counts.get(name, 0)


@torch.no_grad()
def measure_cost(model: ExpressionClassifier) -> Cost:
    """Measures a model on an image of zeros, and leaves it in eval mode."""
    model.eval()
    side = model.preprocessing.image_size
    image = torch.zeros(1, 3, side, side)
    # The counter does not see fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    counts = {name: sum(by_operation.values()) // 2 for name, by_operation in counter.get_flop_counts().items()}
    root = type(model).__name__
    parts = [
        PartCost(
            part=name,
            parameters=sum(p.numel() for p in module.parameters()),
            macs=macs_of(f"{root}.{name}", module, counts),
        )
        for name, module in parts_of(model)
    ]
    rest = sum(p.numel() for p in model.parameters()) - sum(part.parameters for part in parts)
    other = counts["Global"] - sum(part.macs for part in parts)
    if rest or other:
        parts.append(PartCost(part="other", parameters=rest, macs=other))
    with PeakMemory() as memory:
        model(image)
    weights = sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
    return Cost(parts=tuple(parts), weight_bytes=weights, activation_bytes=memory.peak)
