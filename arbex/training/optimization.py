"""What changes the weights besides the gradient: groups of parameters, the learning rate, and averages of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from arbex.settings import TrainSettings
from arbex.training.muon import MuonWithAdamW

WARM_UP: Final = 0.05
"""Share of all steps in which the learning rate of ``cosine`` rises."""

RISE: Final = 0.25
"""Share of all steps in which the learning rate of ``one-cycle`` rises."""

FACTOR: Final = "factor"
"""Entry of a group of parameters: factor of the learning rate."""

AVERAGES: Final = "average."
"""Prefix of averaged weights in the state of a training."""


def parameter_groups(
    model: nn.Module, weight_decay: float, *, without: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Returns two groups of parameters: matrices and kernels, which have weight decay, and all others.

    Args:
        model: Model whose trained parameters are grouped.
        weight_decay: Weight decay of the first group.
        without: Parameters that are left out.
    """
    left_out = {id(parameter) for parameter in without}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in left_out:
                matrix = name == "weight" and isinstance(module, nn.Linear | nn.Conv2d)
                (decayed if matrix else others).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def make_optimizer(
    model: nn.Module,
    inner: Sequence[nn.Parameter],
    settings: TrainSettings,
    rates: Mapping[nn.Parameter, float] | None = None,
) -> torch.optim.Optimizer:
    """Returns the optimizer that the settings name.

    Args:
        model: Everything that is trained.
        inner: Kernels and matrices that Muon changes, if it is the optimizer: those whose outputs are not answers.
        settings: The settings.
        rates: Factor of the learning rate by parameter; others have 1.
    """
    rate, decay, fused = settings.learning_rate, settings.weight_decay, can_fuse(settings.precision)
    rates = rates or {}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(split_by_rate(parameter_groups(model, decay), rates), lr=rate, fused=fused)
    groups = split_by_rate(parameter_groups(model, decay, without=inner), rates)
    return MuonWithAdamW(
        split_by_rate([{"params": list(inner), "weight_decay": decay}], rates), groups, lr=rate, fused=fused
    )


def split_by_rate(groups: Iterable[dict[str, Any]], rates: Mapping[nn.Parameter, float]) -> list[dict[str, Any]]:
    """Returns groups in each of which all parameters have one factor of the learning rate, under ``FACTOR``."""
    found = []
    for group in groups:
        factors = [rates.get(parameter, 1.0) for parameter in group["params"]]
        for factor in dict.fromkeys((1.0, *factors)):
            own = [parameter for parameter, each in zip(group["params"], factors, strict=True) if each == factor]
            found.append({**group, "params": own, FACTOR: factor})
    return [group for group in found if group["params"]]


def current_learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """Returns the learning rate of what has no factor of its own."""
    group = optimizer.param_groups[0]
    return float(group["lr"] / group.get(FACTOR, 1.0))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group, times the factor of the group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


def can_fuse(precision: str) -> bool:
    """Returns whether AdamW may update all weights in one kernel.

    With ``16-mixed``, the fused kernel would undo the scaling of the loss, and gradients could not be clipped before.
    """
    return precision != "16-mixed"


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Returns the learning rate after ``progress`` epochs, which may be a fraction."""
    share = min(progress / settings.epochs, 1.0)
    if settings.schedule == "exponential":
        factor = settings.decay ** int(progress)
    elif settings.schedule == "cosine":
        factor = min(1.0, share / WARM_UP + 0.02) * falling(share, 0.01)
    elif settings.schedule == "one-cycle":  # arXiv 1708.07120
        rising = share < RISE
        factor = falling(1 - share / RISE, 0.04) if rising else falling((share - RISE) / (1 - RISE), 0.001)
    else:  # restarts, arXiv 1608.03983
        factor = falling(position_in_period(settings.restart_epochs, progress), 0.01)
    return settings.learning_rate * factor


def falling(share: float, last: float) -> float:
    """Returns a factor that falls from 1 to ``last`` along half a cosine while ``share`` goes from 0 to 1."""
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * share))


def position_in_period(first: int, progress: float) -> float:
    """Returns the position, in [0, 1), in a period after ``progress`` epochs.

    Args:
        first: Length of the first period in epochs; each further one is twice as long as the one before.
        progress: Number of epochs, which may be a fraction.
    """
    length = float(first)
    while progress >= length:
        progress -= length
        length *= 2
    return progress / length


class WeightAverage:
    """An exponential moving average of a model's weights and of the statistics of its batch norms.

    The decay grows with the number of steps up to its final value, as in TensorFlow's ``ExponentialMovingAverage``:
    otherwise the random weights of the start would stay in the average for long.

    Args:
        model: The model that is trained.
        decay: Final share of the old average in the new one, per step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Copies the model."""
        self.decay = decay
        self.averaged = AveragedModel(model, multi_avg_fn=self.average, use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """The model with averaged weights."""
        module: nn.Module = self.averaged.module
        return module

    @torch.no_grad()
    def average(self, averages: Any, current: Any, steps: Tensor | int) -> None:
        """Moves averages toward current values, in place."""
        share = 1 - min(self.decay, (1 + int(steps)) / (10 + int(steps)))
        for average, value in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), share)
            else:
                average.copy_(value)  # the number of batches that a batch norm has seen

    def update(self, model: nn.Module) -> None:
        """Takes the weights after a step."""
        self.averaged.update_parameters(model)

    def state(self) -> dict[str, Tensor]:
        """Returns the averages and the number of steps, by name."""
        return {AVERAGES + name: tensor for name, tensor in self.averaged.state_dict().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what ``state`` returned."""
        self.averaged.load_state_dict({name.removeprefix(AVERAGES): tensor for name, tensor in state.items()})
