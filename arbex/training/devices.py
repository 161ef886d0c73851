"""One process or many: Lightning Fabric, shares of a batch, and batch norms over the whole of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from arbex.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(devices: int | None, precision: str) -> Fabric:
    """Returns Fabric with its processes running.

    Args:
        devices: Processes on this machine; by default what ``torchrun`` started, else one.
        precision: Of Lightning Fabric.
    """
    from lightning_fabric import Fabric

    local = int(os.environ.get("LOCAL_WORLD_SIZE", "0"))  # set by torchrun
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // local if local else 1
    count = local or devices or 1
    if devices and local and devices != local:
        raise InputError(
            f"--devices {devices} contradicts torchrun, which started {local} processes.", remedy="Leave it out."
        )
    strategy = "ddp" if count * nodes > 1 else "auto"
    fabric = Fabric(devices=count, num_nodes=nodes, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def share_of_batch(batch_size: int, world_size: int) -> int:
    """Returns how many images of a batch each process takes.

    Raises:
        InputError: If the batch cannot be divided.
    """
    if batch_size % world_size or batch_size // world_size < 2:
        raise InputError(
            f"A batch of {batch_size} images cannot be divided among {world_size} processes.",
            allowed="Allowed: the same number for each, at least 2.",
            remedy=f"Set one: --set batch_size={max(2, round(batch_size / world_size)) * world_size}.",
        )
    return batch_size // world_size


class Total(torch.autograd.Function):
    """Sums a tensor over all processes; the gradient of the sum goes back to each of them."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Returns the sum."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Sums what every process wants of the total."""
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes, on any device; ``nn.SyncBatchNorm`` is for GPUs only."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Accepts ``[B, C]`` and ``[B, C, H, W]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes each channel of ``[B, C, ...]``."""
        if not self.training:
            return super().forward(x)
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = float(x.numel() // x.shape[1] * dist.get_world_size())  # processes have batches of one size
        mean: Tensor = Total.apply(x.sum(dims)) / count  # type: ignore[no-untyped-call]  # [C]
        deviation = x - mean.view(shape)
        variance: Tensor = Total.apply(deviation.square().sum(dims)) / count  # type: ignore[no-untyped-call]  # [C]
        self.remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return deviation * scale.view(shape) + self.bias.view(shape)

    def remember(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics, as the other batch norms do."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronize_norms(module: nn.Module, device: torch.device) -> None:
    """Replaces batch norms by such over all processes; names and values of the weights stay."""
    kind = nn.SyncBatchNorm if device.type == "cuda" else GlobalBatchNorm
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            synced = kind(child.num_features, eps=child.eps, momentum=child.momentum)
            synced.load_state_dict(child.state_dict())
            setattr(module, name, synced)
        else:
            synchronize_norms(child, device)


def average(fabric: Fabric, figures: dict[str, float]) -> dict[str, float]:
    """Returns the means of figures over all processes."""
    if fabric.world_size == 1:
        return figures
    values = fabric.all_reduce(torch.tensor(list(figures.values()), dtype=torch.float64), reduce_op="mean")
    return dict(zip(figures, values.tolist(), strict=True))  # type: ignore[union-attr]
