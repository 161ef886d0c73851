"""The state that ``--resume`` continues from: one safetensors file, replaced in one step after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from arbex.checkpoint import RESUME, damaged, read_metadata, read_weights, write_weights
from arbex.errors import RunError

HEAD_VALUES = "head_"
"""Beginning of the names in ``metrics.jsonl`` of what a method says of its head."""


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Position of a training after an epoch.

    Attributes:
        epoch: Number of finished epochs.
        best_epoch: Epoch of the best weights.
        best_score: Score of that epoch on validation, as in :class:`EpochMetrics`.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: tuple[float, float] = (-1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """Measurements of an epoch: one line of ``metrics.jsonl``.

    Attributes:
        epoch: Number of the epoch, from 1.
        losses: Mean of each loss over the steps of the epoch, by name; ``loss`` is their sum.
        accuracy: Accuracy of the corrected distribution on validation, in [0, 1].
        nll: Mean negative log-likelihood of the corrected distribution on validation, in nats.
        ece: Expected calibration error of the corrected distribution on validation, in [0, 1].
        primary_accuracy: Accuracy of the primary distribution on validation, in [0, 1].
        seconds: Duration of training and validation.
        learning_rate: Learning rate of the last step.
        head: What the method says of its head, by name.
    """

    epoch: int
    losses: Mapping[str, float]
    accuracy: float
    nll: float
    ece: float
    primary_accuracy: float
    seconds: float
    learning_rate: float
    head: Mapping[str, float] = field(default_factory=dict)

    @property
    def score(self) -> tuple[float, float]:
        """Accuracy, and minus the NLL for epochs of equal accuracy; the largest marks the best epoch."""
        return self.accuracy, -self.nll

    def to_json(self) -> dict[str, float]:
        """Returns the line as a dictionary."""
        return {
            "epoch": self.epoch,
            **self.losses,
            "val_accuracy": self.accuracy,
            "val_nll": self.nll,
            "val_ece": self.ece,
            "val_primary_accuracy": self.primary_accuracy,
            "seconds": self.seconds,
            "learning_rate": self.learning_rate,
            **{f"{HEAD_VALUES}{name}": value for name, value in self.head.items()},
        }


def write_state(
    run: Path,
    state: TrainState,
    model: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    method: Mapping[str, Tensor],
) -> None:
    """Writes the position, the weights, the optimizer's moments and the state of the method."""
    tensors = {f"model.{name}": tensor for name, tensor in model.items()}
    tensors |= {f"method.{name}": tensor for name, tensor in method.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
    write_weights(run / RESUME, tensors, {"state": json.dumps(asdict(state))})


def in_order_of(parameter: Tensor, value: Tensor) -> Tensor:
    """Returns a moment in the order in memory of its parameter, which files do not store.

    Fused AdamW goes through memory without looking at strides, and would pair each weight with another one's moments.
    """
    if value.shape != parameter.shape:  # a number of steps, or a matrix of Muon
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def read_state(run: Path, optimizer: torch.optim.Optimizer) -> tuple[TrainState, dict[str, Tensor], dict[str, Tensor]]:
    """Restores the optimizer in place, and returns the position, the model's weights and the state of the method.

    Raises:
        RunError: If the file is damaged, or an earlier version of arbex wrote it with moments of another kind.
    """
    try:
        fields = json.loads(read_metadata(run / RESUME)["state"])
        state = TrainState(
            epoch=fields["epoch"], best_epoch=fields["best_epoch"], best_score=tuple(fields["best_score"])
        )
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(run / RESUME, error) from error
    kinds: dict[str, dict[str, Tensor]] = {"model": {}, "method": {}}
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in read_weights(run / RESUME).items():
        kind, _, rest = name.partition(".")
        if kind in kinds:
            kinds[kind][rest] = tensor
        else:
            index, _, slot = rest.partition(".")
            slots.setdefault(int(index), {})[slot] = tensor
    content = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    try:
        content["state"] = {
            index: {slot: in_order_of(parameters[index], tensor) for slot, tensor in kept.items()}
            for index, kept in slots.items()
        }
    except IndexError as error:
        raise damaged(run / RESUME, error) from error
    try:
        optimizer.load_state_dict(content)
    except ValueError as error:
        raise RunError(
            f"The moments of the optimizer in {run / RESUME} do not fit: {error}. An earlier version of arbex wrote "
            "them.",
            remedy=f"Resume with that version, or train a new run that starts from this one: --init {run}.",
        ) from error
    return state, kinds["model"], kinds["method"]
