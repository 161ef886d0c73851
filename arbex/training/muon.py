"""Muon for kernels and matrices inside a network, AdamW for all other parameters, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

ADJUSTMENT: Final = "match_rms_adamw"
"""How the steps are scaled: as long as those of AdamW, so that one learning rate fits both (arXiv 2502.16982)."""

MOMENT: Final = "momentum_buffer"
"""What Muon keeps of each matrix; AdamW keeps other moments."""


def is_dense(module: nn.Module) -> bool:
    """Returns whether a layer's weight is one matrix: of a linear layer, or of a convolution without groups."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)


def dense_weights(module: nn.Module) -> list[nn.Parameter]:
    """Returns the weights of a module's dense layers that are trained."""
    return [m.weight for m in module.modules() if is_dense(m) and m.weight.requires_grad]  # type: ignore[misc]


def as_matrix(weight: Tensor) -> Tensor:
    """Returns a kernel ``[O, I, H, W]`` as a matrix ``[O, I*H*W]`` that shares its memory; a matrix as it is.

    The order of the columns follows the order in memory. It does not matter to Muon.
    """
    if weight.is_contiguous():
        return weight.flatten(1)
    return weight.permute(0, 2, 3, 1).flatten(1)


def like(gradient: Tensor, weight: Tensor) -> Tensor:
    """Returns the gradient of a weight as a matrix with the columns of ``as_matrix(weight)``."""
    return gradient.flatten(1) if weight.is_contiguous() else gradient.permute(0, 2, 3, 1).flatten(1)


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon/) for some weights, AdamW for groups of others.

    torch's Muon takes matrices only; kernels are given to it as such. Both parts follow the learning rates in
    ``param_groups``.

    Args:
        inner: Groups of kernels and matrices for Muon, with their weight decay.
        groups: Groups of parameters for AdamW, with theirs.
        lr: Learning rate of both.
        fused: Whether AdamW runs as one kernel.
    """

    def __init__(
        self, inner: Iterable[dict[str, Any]], groups: Iterable[dict[str, Any]], *, lr: float, fused: bool
    ) -> None:
        """Builds both parts."""
        inner, groups = list(inner), list(groups)
        self.weights: list[nn.Parameter] = [weight for group in inner for weight in group["params"]]
        self.matrices = [nn.Parameter(as_matrix(weight.detach())) for weight in self.weights]
        matrix_of = {id(weight): matrix for weight, matrix in zip(self.weights, self.matrices, strict=True)}
        flat = [{**group, "params": [matrix_of[id(weight)] for weight in group["params"]]} for group in inner]
        self.adamw = torch.optim.AdamW(groups, lr=lr, fused=fused)
        self.muon = torch.optim.Muon(flat, lr=lr, adjust_lr_fn=ADJUSTMENT)
        super().__init__([*groups, *inner], {"lr": lr})

    def follow_weights(self) -> None:
        """Makes the matrices views of the weights as they are: a move to a GPU or to another order replaces memory."""
        for matrix, weight in zip(self.matrices, self.weights, strict=True):
            matrix.grad, matrix.data = None, as_matrix(weight.detach())

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes all parameters once; the closure, if there is one, computes gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, own in zip(self.param_groups, [*self.adamw.param_groups, *self.muon.param_groups], strict=True):
            own["lr"] = group["lr"]
        self.follow_weights()
        for matrix, weight in zip(self.matrices, self.weights, strict=True):
            matrix.grad = None if weight.grad is None else like(weight.grad, weight)
        self.adamw.step()
        self.muon.step()  # type: ignore[no-untyped-call]
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Returns both states as one: parameters are counted through, those of AdamW first."""
        first, second = self.adamw.state_dict(), self.muon.state_dict()
        count = sum(len(group["params"]) for group in first["param_groups"])
        moved = {count + index: slots for index, slots in second["state"].items()}
        groups = [{**g, "params": [count + i for i in g["params"]]} for g in second["param_groups"]]
        return {"state": {**first["state"], **moved}, "param_groups": [*first["param_groups"], *groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what ``state_dict`` returned.

        Raises:
            ValueError: If one part is given moments of the other one.
        """
        self.follow_weights()
        first, second = self.adamw.state_dict(), self.muon.state_dict()
        count = sum(len(group["params"]) for group in first["param_groups"])
        state = state_dict["state"]
        if any((MOMENT in slots) != (index >= count) for index, slots in state.items()):
            raise ValueError("other weights than these were changed by Muon")
        first["state"] = {index: slots for index, slots in state.items() if index < count}
        second["state"] = {index - count: slots for index, slots in state.items() if index >= count}
        self.adamw.load_state_dict(first)
        self.muon.load_state_dict(second)
