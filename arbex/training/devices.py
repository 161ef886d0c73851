"""Training in one process or several: Lightning Fabric, shares of a batch, and batch norms over the whole batch."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from arbex.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


BFLOAT16_INSTRUCTIONS: Final = ("amx_bf16", "avx512_bf16")
"""Features of x86 processors with which training in bfloat16 takes less time than in float32."""


def fitting_precision() -> str:
    """Returns the precision, of Lightning Fabric's, in which training is fastest on this machine without overflow."""
    if torch.cuda.is_available():
        fits = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # newer torch
        fits = any(features.get(name, False) for name in BFLOAT16_INSTRUCTIONS)
    return "bf16-mixed" if fits else "32-true"


def make_fabric(devices: int | None, precision: str) -> Fabric:
    """Starts the processes of Lightning Fabric.

    Args:
        devices: Number of processes on this machine; by default those that ``torchrun`` started, otherwise one.
        precision: Precision of Lightning Fabric.

    Raises:
        InputError: If ``devices`` contradicts ``torchrun``.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it says again what training itself says
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))  # set by torchrun
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // local if local else 1
    count = local or devices or 1
    if devices and local and devices != local:
        raise InputError(
            f"--devices is {devices}, but torchrun started {local} processes.", remedy="Leave --devices out."
        )
    strategy = "ddp" if count * nodes > 1 else "auto"
    fabric = Fabric(devices=count, num_nodes=nodes, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def share_of_batch(batch_size: int, world_size: int) -> int:
    """Returns the number of images of a batch that each process takes.

    Raises:
        InputError: If the batch cannot be divided evenly.
    """
    if batch_size % world_size or batch_size // world_size < 2:
        raise InputError(
            f"A batch of {batch_size} images cannot be divided among {world_size} processes.",
            allowed=f"Allowed: multiples of {world_size}, with at least 2 images for each process.",
            remedy=f"Set another size: --set batch_size={max(2, round(batch_size / world_size)) * world_size}.",
        )
    return batch_size // world_size


class Total(torch.autograd.Function):
    """Sums a tensor over all processes; every process receives the gradient of the sum."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Returns the sum."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Sums the gradients of all processes."""
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes, on any device; ``nn.SyncBatchNorm`` runs on GPUs only."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Accepts ``[B, C]`` and ``[B, C, H, W]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes each channel of ``[B, C, ...]``; half-precision inputs are averaged in float32, as torch does."""
        if not self.training:
            return super().forward(x)
        given, x = x.dtype, x.float()
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = float(x.numel() // x.shape[1] * dist.get_world_size())  # all processes have batches of one size
        mean: Tensor = Total.apply(x.sum(dims)) / count  # type: ignore[no-untyped-call]  # [C]
        deviation = x - mean.view(shape)
        variance: Tensor = Total.apply(deviation.square().sum(dims)) / count  # type: ignore[no-untyped-call]  # [C]
        self.update_statistics(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (deviation * scale.view(shape) + self.bias.view(shape)).to(given)

    def update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Updates the running statistics in the way of torch's own batch norms."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronize_norms(module: nn.Module, device: torch.device) -> None:
    """Replaces batch norms by norms over the batches of all processes; the weights keep their names and values."""
    kind = nn.SyncBatchNorm if device.type == "cuda" else GlobalBatchNorm
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            synced = kind(child.num_features, eps=child.eps, momentum=child.momentum)
            synced.load_state_dict(child.state_dict())
            for new, old in zip(synced.parameters(), child.parameters(), strict=True):
                new.requires_grad_(old.requires_grad)
            setattr(module, name, synced)
        else:
            synchronize_norms(child, device)


def gathered(fabric: Fabric, rows: Tensor) -> Tensor:
    """Returns the rows ``[B, ...]`` of all processes, which have as many each, one process after the other."""
    if fabric.world_size == 1:
        return rows
    return cast("Tensor", fabric.all_gather(rows)).flatten(0, 1)


def average(fabric: Fabric, figures: dict[str, float]) -> dict[str, float]:
    """Returns the mean of each figure over all processes."""
    if fabric.world_size == 1:
        return figures
    values = fabric.all_reduce(torch.tensor(list(figures.values()), dtype=torch.float64), reduce_op="mean")
    return dict(zip(figures, values.tolist(), strict=True))  # type: ignore[union-attr]
